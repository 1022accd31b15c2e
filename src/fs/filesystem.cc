#include "fs/filesystem.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <tuple>
#include <utility>

#include "base/log.h"
#include "base/machine.h"
#include "store/names.h"

namespace xzfs {
namespace {

// More findings than these are a state of the source, not an accident in it.
constexpr size_t kMostReports = 1000;

// Of the memory for KnownFiles: 16 MiB are 300,000 files.
constexpr uint64_t kMostKnownFilesBytes = uint64_t{16} << 20;

size_t KnownFilesBytes(const Options& options) {
  return std::min(options.cache_size_bytes / 16, kMostKnownFilesBytes);
}

// Decoding it takes well under a millisecond, whatever its bytes expand to.
bool IsSmall(const Node& node) {
  constexpr uint64_t kMostPlainBytes = uint64_t{128} << 10;
  return node.kind == StoredKind::kCompressed && !node.damage && node.plain_size != 0 &&
         node.plain_size <= kMostPlainBytes &&
         node.identity.size_bytes <= SmallFiles::kLargestFileBytes;
}

// It is not there any more, or not what it was.
bool IsGone(int error) { return error == -ENOENT || error == -ENOTDIR || error == -ELOOP; }

struct timespec Later(const struct timespec& a, const struct timespec& b) {
  return std::tie(a.tv_sec, a.tv_nsec) < std::tie(b.tv_sec, b.tv_nsec) ? b : a;
}

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
      boot_id_(BootId()),
      root_(std::make_shared<SharedDescriptor>(std::move(source))),
      known_(KnownFilesBytes(options)),
      twins_(os, [this](NodeId top) { return OpenTop(top); }),
      names_(os, known_, &twins_),
      numbers_(root.st_dev),
      nodes_(root, numbers_),
      shares_(DescriptorShares::Of(DescriptorLimit(), options.threads + options.compress_threads)),
      directories_(shares_.cached / 2),
      files_(shares_.cached / 2),
      overlay_files_(std::make_shared<OverlayFileCache>(shares_.overlays / 2)),
      held_(shares_.held),
      done_intents_(os),
      collisions_(kMostReports),
      damaged_files_(kMostReports),
      copies_(kMostReports),
      engine_({.budget_bytes = options.cache_size_bytes,
               .threads = options.threads,
               .whole_block_bytes = options.whole_block_limit_bytes,
               .verify = options.verify_stream ? Verify::kStream : Verify::kBlock,
               .restart_file_bytes = options.restart_file_size_bytes.value_or(0)}),
      known_charge_(engine_.cache.Reserve(known_.memory_bytes())),
      history_(engine_.stats, read_times_, History::Clock::now()),
      live_(options),
      encoders_(options.compress_threads, options.block_size_bytes),
      committer_(
          options.compress_threads,
          std::chrono::nanoseconds(static_cast<int64_t>(options.settle_s * 1e9)),
          {.commit = [this](NodeId id, bool is_awaited) { return CommitNode(id, is_awaited); },
           .pin = [this](NodeId id) { return nodes_.Pin(id); },
           .unpin = [this](NodeId id) { Forget(id, 1); },
           .on_idle = [this] { ForgetPending(); },
           .has_given_up =
               [this](NodeId id) {
                 const auto failure = failures_.Find(id);
                 return failure && failure->is_given_up;
               }}) {
  MakeRootZone();
  MakeColdSearch();
}

Filesystem::~Filesystem() { EndSearches(); }

void Filesystem::ReportCollision(NodeId parent, const StoredEntry& entry) {
  const std::string loser = nodes_.PathIn(parent, entry.stored_name);
  const std::string winner = nodes_.PathIn(parent, entry.lost_to);
  std::string message = "'" + winner + "' and '" + loser +
                        "' want the same name: the first gets it, the other is shown under its "
                        "stored name; remove or rename one";
  if (entry.lost_to_same_time) {
    message += ". Both have the same time: if, in the source, xz -dc '" + loser + "' | cmp - '" +
               winner + "' says nothing they have the same content, and either can be removed";
  }
  if (collisions_.Report(LogLevel::kWarning, loser, message)) {
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
  return node.identity.HasContentOf(Identity::Of(st));
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
    } else if ((open = CacheOf(*at).Find(at->id, at->content)) == nullptr) {
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
  DescriptorPtr kept = CacheOf(*node).Add(node->id, std::move(descriptor), node->content);
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

Result<LookupResult> Filesystem::Lookup(NodeId parent, const std::string& name, bool may_decode) {
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
  if (node->is_removed) {
    return Fail(ENOENT, nodes_.PathOf(parent) + " was removed");
  }
  UndoHalfDone();
  XZFS_RETURN_IF_ERROR(EnterDirectory(parent));
  std::optional<Node> looked_into;
  for (;;) {
    StoredEntry entry;
    {
      SharedLock names(namespace_);
      XZFS_ASSIGN_OR_RETURN(const DescriptorPtr dir, OpenNode(node));
      XZFS_ASSIGN_OR_RETURN(entry, LookupIn(*node, dir->descriptor.get(), name));
      if (looked_into || !IsUnknownLegacy(entry)) {
        return Register(parent, std::move(entry), looked_into ? &*looked_into : nullptr);
      }
    }
    if (!may_decode) {
      return Fail(EINPROGRESS, "'" + name + "' may have to be decoded for its size");
    }
    // Not under the lock, which would keep all others from their names.
    looked_into = NodeOf(entry);
    XZFS_RETURN_IF_ERROR(LookInto(parent, entry, *looked_into));
  }
}

// The rules for names, and what is found by them.
Result<StoredEntry> Filesystem::LookupIn(const Node& parent, int dir, const std::string& name) {
  if (IsPrivate(parent.id, dir, name)) {
    return Fail(ENOENT, "the mount's own folder is not reachable");
  }
  auto entry = names_.Lookup(dir, name);
  if (!entry && entry.error().code == ENOENT && name.size() > LongestNameIn(parent, dir) &&
      !IsLongNameKnown(name)) {
    return Fail(ENAMETOOLONG, "'" + name + "' is longer than statfs says that a name may be");
  }
  return entry;
}

Node Filesystem::NodeOf(const StoredEntry& entry) {
  Node node;
  node.kind = entry.kind;
  node.format = entry.format;
  node.identity = Identity::Of(entry.attributes);
  node.attributes = entry.attributes;
  node.mount_id = entry.mount_id;
  return node;
}

bool Filesystem::IsUnknownLegacy(const StoredEntry& entry) {
  return entry.kind == StoredKind::kCompressed && entry.format != Format::kXz && !entry.known &&
         KnownNode(entry) == nullptr;
}

// Makes `entry`, found in `parent`, a node (or finds the one that it is) and counts a lookup.
Result<LookupResult> Filesystem::Register(NodeId parent, StoredEntry entry,
                                          const Node* looked_into) {
  if (!entry.lost_to.empty()) {
    ReportCollision(parent, entry);
  }
  Node candidate = NodeOf(entry);
  if (IsHalfOverwritten(FileId::Of(entry.attributes))) {
    return FailHalfOverwritten(nodes_.PathIn(parent, entry.stored_name));
  }
  NoteLongName(entry.logical_name);
  const NodeTable::Location location{parent, entry.stored_name};
  const bool may_be_orphans_base = has_orphans_ && entry.kind == StoredKind::kCompressed;
  std::vector<NodeId> gone;
  NodePtr node =
      nodes_.Acquire(entry.kind, entry.format, candidate.identity, entry.mount_id, location, gone);
  if (node == nullptr && entry.kind == StoredKind::kCompressed) {
    if (const NodePtr edited = FindEdited(candidate.identity)) {
      XZFS_RETURN_IF_ERROR(RefreshFrom(edited, entry.attributes, entry.stored_name));
      node = nodes_.Acquire(entry.kind, entry.format, candidate.identity, entry.mount_id, location,
                            gone);
    }
  }
  if (node == nullptr) {
    if (looked_into != nullptr && looked_into->identity == candidate.identity) {
      candidate = *looked_into;
    } else if (entry.kind == StoredKind::kCompressed) {
      XZFS_RETURN_IF_ERROR(LookInto(parent, entry, candidate));
    }
    node = nodes_.AcquireOrAdd(std::move(candidate), location, gone);
  } else if (entry.kind == StoredKind::kCompressed && !entry.known && !node->damage) {
    known_.Add(node->identity, entry.suffix, node->KnownAs());  // it had been dropped
  }
  Drop(gone);
  if (node == nullptr) {
    return Fail(ESTALE, "the directory of " + entry.stored_name + " was forgotten meanwhile");
  }
  if (may_be_orphans_base) {
    node = AttachOrphan(node);
  }
  files_.Unpin(node->id);  // it was without a known name
  LookupResult result{node->id, entry.attributes, IsSmall(*node)};
  if (const Status shown = ShowAttributes(*node, &result.attributes); !shown) {
    Forget(node->id, 1);
    return tl::unexpected(shown.error());
  }
  return result;
}

// Completes a compressed `node`. Errors are those of the moment: a damaged Index is a property of
// the node.
Status Filesystem::LookInto(NodeId parent, StoredEntry& entry, Node& node) {
  if (entry.known) {
    node.SetKnown(*entry.known);
    return {};
  }
  auto found = ReadIndex(parent, entry);
  // After the reads: what is remembered of a version was read of it. A file that is being written
  // is none yet.
  const bool settled = IsUnchanged(os_, entry.file.get(), entry.attributes);
  if (found) {
    if (settled) {
      *found = known_.Add(node.identity, entry.suffix, *found);
      if (entry.head.size() == node.identity.size_bytes) {
        engine_.small_files.Add(node.identity, std::move(entry.head));
      }
    }
    node.SetKnown(*found);
    return {};
  }
  Error& error = found.error();
  if (error.of_the_source || (error.code != EIO && error.code != EFBIG)) {
    return tl::unexpected(std::move(error));
  }
  // A file that is being written looks damaged until it is complete: that is not worth an alarm.
  const std::string key =
      std::to_string(node.identity.device) + ":" + std::to_string(node.identity.inode);
  const std::string what = nodes_.PathIn(parent, entry.stored_name) + ": " + error.message;
  std::string line = "damaged: " + what + "; opening it fails with EIO until it is replaced";
  if (error.code == EFBIG) {
    line = "refused: " + what + "; opening it fails with EFBIG; memory limits grow with cache_size";
  } else if (error.is_unsupported) {
    line = "unsupported: " + what + "; opening it fails with EIO";
  }
  if (settled && damaged_files_.Report(LogLevel::kError, key, line) && !error.is_unsupported) {
    engine_.stats.damaged_files.Add();
  }
  node.damage = std::move(error);
  return {};
}

Result<KnownFile> Filesystem::ReadIndex(NodeId parent, const StoredEntry& entry) {
  const ProbedFile stored(os_, entry);
  const auto known_of = [&](const BlockIndex& index, uint64_t file_id) -> KnownFile {
    return {.format = entry.format,
            .plain_size = index.plain_size(),
            .file_id = file_id,
            .has_giant_blocks = index.largest_block() > engine_.whole_block_bytes};
  };
  if (entry.format == Format::kXz && entry.head.size() == stored.size()) {
    // All of it is in memory already: no need to see whether others are reading the same.
    XZFS_ASSIGN_OR_RETURN(const BlockIndex index, BlockIndex::Read(stored, entry.format, {}));
    return known_of(index, engine_.files.NewId());
  }
  const auto path = [&] { return nodes_.PathIn(parent, entry.stored_name); };
  XZFS_ASSIGN_OR_RETURN(const auto file, engine_.files.Look(Identity::Of(entry.attributes),
                                                            entry.format, stored, path));
  return known_of(file->index(), file->id());
}

void Filesystem::Forget(NodeId node, uint64_t count) { Drop(nodes_.Forget(node, count)); }

void Filesystem::Drop(const std::vector<NodeId>& gone) {
  for (const NodeId id : gone) {
    directories_.Drop(id);
    files_.Drop(id);
    open_order_.Forget(id);
  }
}

// Turns the stored file's attributes into the logical file's.
Status Filesystem::ShowAttributes(const Node& node, struct stat* st) const {
  std::shared_ptr<Overlay> overlay;
  if (node.state != nullptr) {
    MutexLock lock(node.state->mutex);
    overlay = node.state->overlay;
  }
  return ShowAttributes(node, overlay.get(), st);
}

Status Filesystem::ShowAttributes(const Node& node, const Overlay* overlay, struct stat* st) const {
  st->st_ctim = node.ShownCtime(*st);  // before the inode number is another
  st->st_ino = node.shown_inode;
  if (overlay != nullptr) {
    XZFS_ASSIGN_OR_RETURN(const struct stat edited, overlay->Stat());
    st->st_size = edited.st_size;
    st->st_blocks += edited.st_blocks;
    st->st_atim = edited.st_atim;
    st->st_mtim = edited.st_mtim;
    st->st_ctim = Later(edited.st_ctim, st->st_ctim);
    return {};
  }
  if (node.kind == StoredKind::kCompressed && !node.damage) {
    st->st_size = static_cast<off_t>(node.plain_size);
    if (st->st_blocks == 0 && node.plain_size != 0) {
      // Stored inside the inode. Programs take a file without blocks for one hole.
      st->st_blocks = 1;
    }
  } else if (node.kind == StoredKind::kStrippedLink) {
    st->st_size -= 3;  // ".xz" of its target
  }
  return {};
}

Result<struct stat> Filesystem::GetAttributes(NodeId id) {
  SharedLock names(namespace_);  // a commit replaces the node's stored file
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, FindNode(id));
  XZFS_ASSIGN_OR_RETURN(struct stat st, StatNode(node));
  XZFS_RETURN_IF_ERROR(ShowAttributes(*node, &st));
  return st;
}

DescriptorPtr Filesystem::KeptDescriptor(const NodePtr& node) {
  return files_.FindPinned(node->id);
}

// Of the stored file. One that is open keeps answering after it was replaced or removed.
Result<struct stat> Filesystem::StatNode(const NodePtr& node) {
  struct stat st = {};
  if (node->id == kRootNode) {
    const int error = os_.FStat(root_->descriptor.get(), &st);
    return error < 0 ? Result<struct stat>(FailErrno(-error, "stat the source")) : st;
  }
  if (node->is_removed) {
    return node->attributes;
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
  if (const DescriptorPtr kept = KeptDescriptor(node)) {
    if (os_.FStat(kept->descriptor.get(), &st) == 0) {
      return st;
    }
  }
  if (node->state != nullptr && node->kind == StoredKind::kPlain) {
    DescriptorPtr hot;  // somebody else has taken its name away
    {
      MutexLock lock(node->state->mutex);
      hot = node->state->hot;
    }
    if (hot != nullptr && os_.FStat(hot->descriptor.get(), &st) == 0) {
      return st;
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
