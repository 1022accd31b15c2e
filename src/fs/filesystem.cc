#include "fs/filesystem.h"

#include <fcntl.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <utility>

#include "base/log.h"
#include "store/names.h"

namespace xzfs {
namespace {

// What else may be open: /dev/fuse, the log, and the file and directory that each request thread is
// looking at.
constexpr uint64_t kReservedDescriptors = 128;
constexpr uint64_t kMostCachedDescriptors = 512;

// More findings than these are a state of the source, not an accident in it.
constexpr size_t kMostReports = 1000;

size_t DescriptorCapacity() {
  struct rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
    return kMostCachedDescriptors;
  }
  const uint64_t spare =
      limit.rlim_cur > kReservedDescriptors ? limit.rlim_cur - kReservedDescriptors : 0;
  return std::clamp<uint64_t>(spare, 16, kMostCachedDescriptors);
}

// It is not there any more, or not what it was.
bool IsGone(int error) { return error == -ENOENT || error == -ENOTDIR || error == -ELOOP; }

}  // namespace

Result<std::unique_ptr<Filesystem>> Filesystem::Create(UniqueFd source, const Options& options) {
  return Create(std::move(source), options, Os::Real());
}

Result<std::unique_ptr<Filesystem>> Filesystem::Create(UniqueFd source, const Options& options,
                                                       Os& os) {
  Descriptor root(os, openat(source.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) {
    return FailErrno(errno, "open the source");
  }
  struct stat st = {};
  if (const int error = os.FStat(root.get(), &st); error < 0) {
    return FailErrno(-error, "stat the source");
  }
  return std::unique_ptr<Filesystem>(new Filesystem(std::move(root), st, options, os));
}

Filesystem::Filesystem(Descriptor source, const struct stat& root, const Options& options, Os& os)
    : os_(os),
      options_(options),
      root_(std::make_shared<SharedDescriptor>(std::move(source))),
      names_(os),
      nodes_(root),
      directories_(DescriptorCapacity() / 2),
      files_(DescriptorCapacity() / 2),
      collisions_(kMostReports),
      damaged_files_(kMostReports),
      engine_({.budget_bytes = options.cache_size_bytes,
               .threads = options.threads,
               .whole_block_bytes = options.whole_block_limit_bytes,
               .restart_file_bytes = options.restart_file_size_bytes.value_or(0)}) {}

Filesystem::~Filesystem() = default;

void Filesystem::ReportCollision(NodeId parent, const StoredEntry& entry) {
  const std::string loser = nodes_.PathIn(parent, entry.stored_name);
  if (collisions_.Report(LogLevel::kWarning, loser,
                         "'" + nodes_.PathIn(parent, entry.lost_to) + "' and '" + loser +
                             "' want the same name: the first gets it, the other is shown under "
                             "its stored name; remove or rename one")) {
    engine_.stats.collisions.Add();
  }
}

Result<NodePtr> Filesystem::FindNode(NodeId id) {
  if (NodePtr node = nodes_.Find(id)) {
    return node;
  }
  return Fail(ESTALE, "unknown node " + std::to_string(id));
}

bool Filesystem::IsNode(const Node& node, const struct stat& st) {
  const Identity now = Identity::Of(st);
  if (node.kind == StoredKind::kCompressed) {
    return now == node.identity;
  }
  return now.device == node.identity.device && now.inode == node.identity.inode;
}

bool Filesystem::HasContentOf(const Node& node, const struct stat& st) {
  Identity now = Identity::Of(st);
  now.ctime_ns = node.identity.ctime_ns;
  return now == node.identity;
}

// From the nearest ancestor whose descriptor is kept, downwards: a tree may be deeper than a stack.
Result<DescriptorPtr> Filesystem::OpenNode(const NodePtr& node) {
  struct Step {
    NodePtr node;
    std::string stored_name;
  };
  std::vector<Step> way;
  NodePtr at = node;
  DescriptorPtr open;
  while (open == nullptr) {
    if (at->id == kRootNode) {
      open = root_;
    } else if ((open = CacheOf(*at).Find(at->id)) == nullptr) {
      NodeTable::Location location = nodes_.LocationOf(at->id);
      way.push_back({at, std::move(location.stored_name)});
      XZFS_ASSIGN_OR_RETURN(at, FindNode(location.parent));
    }
  }
  for (auto step = way.rbegin(); step != way.rend(); ++step) {
    XZFS_ASSIGN_OR_RETURN(open, OpenIn(step->node, open, step->stored_name));
  }
  return open;
}

// Opens `node` in its parent's directory `dir`.
Result<DescriptorPtr> Filesystem::OpenIn(const NodePtr& node, const DescriptorPtr& dir,
                                         const std::string& stored_name) {
  const int parent = dir->descriptor.get();
  const bool is_dir = node->kind == StoredKind::kDirectory;
  int fd =
      os_.OpenBeneath(parent, stored_name, is_dir ? O_RDONLY | O_DIRECTORY : O_RDONLY | O_NONBLOCK);
  if (fd == -EACCES && is_dir) {
    // It can't be listed, but names in it may be known.
    fd = os_.OpenBeneath(parent, stored_name, O_PATH | O_DIRECTORY);
  }
  if (IsGone(fd)) {
    return Fail(ESTALE, nodes_.PathOf(node->id) + " is no longer there");
  }
  if (fd < 0) {
    return FailSource(-fd, "open " + nodes_.PathOf(node->id));
  }
  Descriptor descriptor(os_, fd);
  struct stat st = {};
  if (const int error = os_.FStat(fd, &st); error < 0) {
    return FailSource(-error, "stat " + nodes_.PathOf(node->id));
  }
  const bool same = IsNode(*node, st) || (node->kind == StoredKind::kCompressed &&
                                          nodes_.IsOpen(node->id) && HasContentOf(*node, st));
  if (!same) {
    return Fail(ESTALE, nodes_.PathOf(node->id) + " was changed in the source");
  }
  DescriptorPtr kept = CacheOf(*node).Add(node->id, std::move(descriptor));
  if (nodes_.Find(node->id) == nullptr) {
    CacheOf(*node).Drop(node->id);  // forgotten meanwhile: nobody else would
  }
  return kept;
}

Result<DescriptorPtr> Filesystem::OpenParent(const NodePtr& node, std::string* stored_name) {
  NodeTable::Location location = nodes_.LocationOf(node->id);
  *stored_name = std::move(location.stored_name);
  XZFS_ASSIGN_OR_RETURN(const NodePtr parent, FindNode(location.parent));
  return OpenNode(parent);
}

Result<LookupResult> Filesystem::Lookup(NodeId parent, const std::string& name) {
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, FindNode(parent));
  if (node->kind != StoredKind::kDirectory) {
    return Fail(ENOTDIR, nodes_.PathOf(parent) + " is not a directory");
  }
  if (name.size() > NAME_MAX) {
    return Fail(ENAMETOOLONG, "a name of " + std::to_string(name.size()) + " bytes");
  }
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos) {
    return Fail(EINVAL, "'" + name + "' is no name");
  }
  if (parent == kRootNode && name == kPrivateFolder) {
    return Fail(ENOENT, "the mount's own folder is not reachable");
  }
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr dir, OpenNode(node));
  XZFS_ASSIGN_OR_RETURN(StoredEntry entry, names_.Lookup(dir->descriptor.get(), name));
  return Register(parent, std::move(entry));
}

// Makes `entry`, found in `parent`, a node (or finds the one that it is) and counts a lookup.
Result<LookupResult> Filesystem::Register(NodeId parent, StoredEntry entry) {
  if (!entry.lost_to.empty()) {
    ReportCollision(parent, entry);
  }
  Node candidate;
  candidate.kind = entry.kind;
  candidate.format = entry.format;
  candidate.identity = Identity::Of(entry.attributes);
  candidate.attributes = entry.attributes;
  const NodeTable::Location location{parent, entry.stored_name};
  std::vector<NodeId> gone;
  NodePtr node = nodes_.Acquire(entry.kind, entry.format, candidate.identity, location, gone);
  if (node == nullptr) {
    if (entry.kind == StoredKind::kCompressed) {
      XZFS_RETURN_IF_ERROR(ReadIndex(parent, entry, candidate));
    }
    node = nodes_.AcquireOrAdd(std::move(candidate), location, gone);
  }
  Drop(gone);
  if (node == nullptr) {
    return Fail(ESTALE, "the directory of " + entry.stored_name + " was forgotten meanwhile");
  }
  LookupResult result{node->id, entry.attributes};
  ShowAttributes(*node, &result.attributes);
  return result;
}

// Completes a compressed `node`. Errors are those of the moment: a damaged Index is a property of
// the node.
Status Filesystem::ReadIndex(NodeId parent, const StoredEntry& entry, Node& node) {
  const ProbedFile stored(os_, entry);
  const auto path = [&] { return nodes_.PathIn(parent, entry.stored_name); };
  auto file = engine_.files.Get(node.identity, entry.format, 0, stored, path);
  if (file) {
    node.plain_size = (*file)->index().plain_size();
    node.file_id = (*file)->id();
    node.has_giant_blocks = (*file)->index().largest_block() > engine_.whole_block_bytes;
    return {};
  }
  Error& error = file.error();
  if (error.of_the_source || (error.code != EIO && error.code != EFBIG)) {
    return tl::unexpected(std::move(error));
  }
  // A file that is being written looks damaged until it is complete: that is not worth an alarm.
  struct stat now = {};
  const bool settled = os_.FStat(entry.file.get(), &now) == 0 && Identity::Of(now) == node.identity;
  const std::string key =
      std::to_string(node.identity.device) + ":" + std::to_string(node.identity.inode);
  if (settled && damaged_files_.Report(LogLevel::kError, key,
                                       "damaged: " + path() + ": " + error.message +
                                           "; opening it fails with EIO until it is replaced")) {
    engine_.stats.damaged_files.Add();
  }
  node.damage = std::move(error);
  return {};
}

void Filesystem::Forget(NodeId node, uint64_t count) { Drop(nodes_.Forget(node, count)); }

void Filesystem::Drop(const std::vector<NodeId>& gone) {
  for (const NodeId id : gone) {
    directories_.Drop(id);
    files_.Drop(id);
  }
}

// Turns the stored file's attributes into the logical file's.
void Filesystem::ShowAttributes(const Node& node, struct stat* st) const {
  if (node.kind == StoredKind::kCompressed && !node.damage) {
    st->st_size = static_cast<off_t>(node.plain_size);
    if (st->st_blocks == 0 && node.plain_size != 0) {
      // Stored inside the inode. Programs take a file without blocks for one hole.
      st->st_blocks = 1;
    }
  } else if (node.kind == StoredKind::kStrippedLink) {
    st->st_size -= static_cast<off_t>(kSuffixReserveBytes);
  }
}

Result<struct stat> Filesystem::GetAttributes(NodeId id) {
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, FindNode(id));
  XZFS_ASSIGN_OR_RETURN(struct stat st, StatNode(node));
  ShowAttributes(*node, &st);
  return st;
}

// Of the stored file. One that is open keeps answering after it was replaced or removed.
Result<struct stat> Filesystem::StatNode(const NodePtr& node) {
  struct stat st = {};
  if (node->id == kRootNode) {
    const int error = os_.FStat(root_->descriptor.get(), &st);
    return error < 0 ? Result<struct stat>(FailErrno(-error, "stat the source")) : st;
  }
  std::string name;
  const auto parent = OpenParent(node, &name);
  if (!parent && parent.error().code != ESTALE) {
    return tl::unexpected(parent.error());
  }
  if (parent) {
    const int error = os_.StatAt((*parent)->descriptor.get(), name, &st);
    if (error == 0 && IsNode(*node, st)) {
      return st;
    }
    if (error < 0 && !IsGone(error)) {
      return FailErrno(-error, "stat " + nodes_.PathOf(node->id));
    }
  }
  if (nodes_.IsOpen(node->id)) {
    if (node->kind == StoredKind::kCompressed) {
      return node->attributes;
    }
    const auto open = OpenNode(node);
    if (open && os_.FStat((*open)->descriptor.get(), &st) == 0) {
      return st;
    }
  }
  return Fail(ESTALE, nodes_.PathOf(node->id) + " is no longer there");
}

// The name under which the node was seen last still is the node.
Result<struct stat> Filesystem::StatName(const Node& node, int dir, const std::string& name) {
  struct stat st = {};
  const int error = os_.StatAt(dir, name, &st);
  if (error < 0 && !IsGone(error)) {
    return FailErrno(-error, "stat " + nodes_.PathOf(node.id));
  }
  if (error < 0 || !IsNode(node, st)) {
    return Fail(ESTALE, nodes_.PathOf(node.id) + " was changed in the source");
  }
  return st;
}

}  // namespace xzfs
