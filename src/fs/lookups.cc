// A name leads to a stored file by the rules of SourceDir, and a stored file to its node or to a
// new one. Before that Borders examines the directory, which may be the top of a zone that an
// earlier mount left, and operations on names that are half done are undone.
//
// A node gets its pending changes here, if they waited for it (Orphans).
#include "fs/lookups.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <utility>

#include "base/log.h"
#include "base/stats.h"
#include "base/try.h"
#include "cache/small_files.h"
#include "fs/borders.h"
#include "fs/edited_files.h"
#include "fs/half_done.h"
#include "fs/name_limits.h"
#include "fs/orphans.h"
#include "store/names.h"

namespace xzfs {
namespace {

// Decoding it takes well under a millisecond, whatever the size of its content.
bool IsSmall(const Node& node) {
  constexpr uint64_t kMostPlainBytes = uint64_t{128} << 10;
  return node.kind == StoredKind::kCompressed && node.plain_size() != 0 &&
         node.plain_size() <= kMostPlainBytes &&
         node.identity.size_bytes <= SmallFiles::kLargestFileBytes;
}

}  // namespace

Lookups::Lookups(NodeTree& tree, Borders& borders, HalfDoneOperations& half_done,
                 EditedFiles& edited, Orphans& orphans, VersionReader& versions, NameLimits& limits,
                 Stats& stats)
    : tree_(tree),
      nodes_(tree.nodes()),
      namespace_(tree.namespace_lock()),
      borders_(borders),
      half_done_(half_done),
      edited_(edited),
      orphans_(orphans),
      versions_(versions),
      limits_(limits),
      stats_(stats) {}

void Lookups::ReportCollision(NodeId parent, const StoredEntry& entry) {
  const std::string loser = nodes_.PathIn(parent, entry.stored_name);
  const std::string winner = nodes_.PathIn(parent, entry.lost_to);
  std::string message = "'" + winner + "' and '" + loser +
                        "' want the same name: the first gets it, and the other is shown under its "
                        "stored name; remove or rename one";
  if (entry.lost_to_same_time) {
    message += ". Both have the same time. If the command xz -dc '" + loser + "' | cmp - '" +
               winner +
               "' prints nothing in the source, they have the same content, and you can "
               "remove either";
  }
  if (collisions_.Report(LogLevel::kWarning, loser, message)) {
    stats_.collisions.Add();
  }
}

Result<LookupResult> Lookups::Lookup(NodeId parent, const std::string& name, Decoding decoding) {
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, tree_.FindNode(parent));
  if (node->kind != StoredKind::kDirectory) {
    return Fail(ENOTDIR, nodes_.PathOf(parent) + " is not a directory");
  }
  if (name.size() > NAME_MAX) {
    return Fail(ENAMETOOLONG, "a name of " + std::to_string(name.size()) + " bytes");
  }
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos) {
    return Fail(EINVAL, "'" + name + "' is not a valid name");
  }
  if (node->is_removed) {
    return Fail(ENOENT, nodes_.PathOf(parent) + " was removed");
  }
  half_done_.UndoAll();
  XZFS_RETURN_IF_ERROR(borders_.EnterDirectory(parent));
  std::optional<Node> looked_into;
  for (;;) {
    StoredEntry entry;
    {
      SharedLock names(namespace_);
      XZFS_ASSIGN_OR_RETURN(const DescriptorPtr dir, tree_.OpenNode(node));
      XZFS_ASSIGN_OR_RETURN(entry, LookupIn(*node, dir->descriptor.get(), name));
      if (looked_into || !IsUnknownLegacy(entry)) {
        return Register(parent, std::move(entry), looked_into ? &*looked_into : nullptr);
      }
    }
    if (decoding == Decoding::kForbidden) {
      return Fail(EINPROGRESS, "'" + name + "' may have to be decoded for its size");
    }
    // Not under the lock, for which all names would have to wait.
    looked_into = NodeOf(entry);
    XZFS_RETURN_IF_ERROR(versions_.LookInto(parent, entry, *looked_into));
  }
}

// Finds the stored file of a name by the rules for names.
Result<StoredEntry> Lookups::LookupIn(const Node& parent, int dir, const std::string& name) {
  if (borders_.IsPrivate(parent.id, dir, name)) {
    return Fail(ENOENT, "the mount's own folder is not reachable");
  }
  auto entry = tree_.names().Lookup(dir, name);
  if (!entry && entry.error().code == ENOENT && name.size() > limits_.LongestIn(parent, dir) &&
      !limits_.IsKnown(name)) {
    return Fail(ENAMETOOLONG, "'" + name + "' is longer than statfs says that a name may be");
  }
  return entry;
}

Node Lookups::NodeOf(const StoredEntry& entry) {
  Node node;
  node.kind = entry.kind;
  node.format = entry.format;
  node.identity = Identity::Of(entry.attributes);
  node.attributes = entry.attributes;
  node.mount_id = entry.mount_id;
  return node;
}

bool Lookups::IsUnknownLegacy(const StoredEntry& entry) {
  return entry.kind == StoredKind::kCompressed && entry.format != Format::kXz && !entry.known &&
         tree_.KnownNode(entry) == nullptr;
}

Result<LookupResult> Lookups::Register(NodeId parent, StoredEntry entry, const Node* looked_into) {
  if (!entry.lost_to.empty()) {
    ReportCollision(parent, entry);
  }
  Node candidate = NodeOf(entry);
  if (edited_.IsHalfOverwritten(FileId::Of(entry.attributes))) {
    return EditedFiles::FailHalfOverwritten(nodes_.PathIn(parent, entry.stored_name));
  }
  limits_.Note(entry.logical_name);
  const NodeTable::Location location{parent, entry.stored_name};
  const bool may_be_orphans_base = orphans_.has_any() && entry.kind == StoredKind::kCompressed;
  std::vector<NodeId> gone;
  NodePtr node =
      nodes_.Acquire(entry.kind, entry.format, candidate.identity, entry.mount_id, location, gone);
  if (node == nullptr && entry.kind == StoredKind::kCompressed) {
    if (const NodePtr edited = edited_.Find(candidate.identity)) {
      XZFS_RETURN_IF_ERROR(tree_.RefreshFrom(edited, entry.attributes, entry.stored_name));
      node = nodes_.Acquire(entry.kind, entry.format, candidate.identity, entry.mount_id, location,
                            gone);
    }
  }
  if (node == nullptr) {
    if (looked_into != nullptr && looked_into->identity == candidate.identity) {
      candidate = *looked_into;
    } else if (entry.kind == StoredKind::kCompressed) {
      XZFS_RETURN_IF_ERROR(versions_.LookInto(parent, entry, candidate));
    }
    node = nodes_.AcquireOrAdd(std::move(candidate), location, gone);
  } else if (entry.kind == StoredKind::kCompressed && !entry.known && node->known) {
    tree_.known().Add(node->identity, entry.suffix, *node->known);  // KnownFiles has dropped it
  }
  tree_.Drop(gone);
  if (node == nullptr) {
    return Fail(ESTALE, "the directory of " + entry.stored_name + " was just forgotten");
  }
  if (may_be_orphans_base) {
    node = orphans_.Attach(node);
  }
  tree_.files().Unpin(node->id);  // it had no known name until now
  LookupResult result{node->id, entry.attributes, IsSmall(*node)};
  if (const Status shown = tree_.ShowAttributes(*node, &result.attributes); !shown) {
    tree_.Forget(node->id, 1);
    return Failure(shown.error());
  }
  return result;
}

Result<LookupResult> Lookups::RegisterNew(NodeId parent, int fd, const std::string& stored_name) {
  XZFS_ASSIGN_OR_RETURN(auto entry, tree_.names().Show(fd, stored_name));
  if (!entry) {
    return Fail(ENOENT, "'" + stored_name + "' vanished");
  }
  return Register(parent, std::move(*entry));
}

Result<NodeId> Lookups::LookupPath(const std::string& path) {
  NodeId at = kRootNode;
  for (size_t begin = 0; begin < path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string stored = path.substr(begin, end - begin);
    const auto found = Lookup(at, StripEscape(stored).value_or(stored));
    if (at != kRootNode) {
      tree_.Forget(at, 1);
    }
    if (!found) {
      return Failure(found.error());
    }
    at = found->node;
    begin = end + 1;
  }
  return at;
}

}  // namespace xzfs
