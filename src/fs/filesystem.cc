#include "fs/filesystem.h"

#include <fcntl.h>
#include <linux/limits.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <utility>

#include "base/log.h"
#include "store/names.h"
#include "xz/block_decoder.h"

namespace xzfs {
namespace {

// What else may be open: /dev/fuse, the log, one file a request thread is looking at, and room for
// a caller's 1,024.
constexpr uint64_t kReservedDescriptors = 128;
constexpr uint64_t kMostCachedDescriptors = 512;

size_t DescriptorCapacity() {
  struct rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
    return kMostCachedDescriptors;
  }
  const uint64_t spare =
      limit.rlim_cur > kReservedDescriptors ? limit.rlim_cur - kReservedDescriptors : 0;
  return std::clamp<uint64_t>(spare, 16, kMostCachedDescriptors);
}

// Collisions that are remembered as reported. More than these are a naming scheme, not an accident.
constexpr size_t kMostReportedCollisions = 1000;

bool IsControlKey(std::string_view key) { return key.starts_with("user.xzfs."); }

}  // namespace

// The stored bytes of a node. A compressed file that was changed in place fails with ESTALE.
class NodeFile : public RandomAccessFile {
 public:
  NodeFile(Filesystem& fs, NodePtr node) : fs_(fs), node_(std::move(node)) {}

  Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) const override {
    XZFS_ASSIGN_OR_RETURN(const DescriptorPtr descriptor, fs_.OpenNode(node_));
    const int fd = descriptor->descriptor.get();
    size_t done = 0;
    while (done < out.size()) {
      const ssize_t got = fs_.os_.PRead(fd, out.subspan(done), offset + done);
      if (got < 0) {
        return FailErrno(static_cast<int>(-got), "read " + fs_.nodes_.PathOf(node_->id));
      }
      if (got == 0) {
        break;
      }
      done += static_cast<size_t>(got);
    }
    if (node_->kind == StoredKind::kCompressed) {
      // After the read: if nothing has changed by now, the bytes are of this version.
      struct stat st = {};
      if (const int error = fs_.os_.FStat(fd, &st); error < 0) {
        return FailErrno(-error, "stat " + fs_.nodes_.PathOf(node_->id));
      }
      if (!SameContent(st)) {
        return Fail(ESTALE, fs_.nodes_.PathOf(node_->id) +
                                " was changed in the source while it was open: open it again");
      }
    }
    return done;
  }

  uint64_t size() const override { return node_->identity.size_bytes; }

 private:
  // Who has a file open is not disturbed by a chmod, a new link or an unlink: they change the ctime
  // alone. (A rewrite in place that keeps the size and sets the mtime back is not seen here; it
  // doesn't get past the Blocks' Checks.)
  bool SameContent(const struct stat& st) const {
    Identity now = Identity::Of(st);
    now.ctime_ns = node_->identity.ctime_ns;
    return now == node_->identity;
  }

  Filesystem& fs_;
  const NodePtr node_;
};

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
      names_(os, [this](int dir, const std::string& winner,
                        const std::string& loser) { ReportCollision(dir, winner, loser); }),
      nodes_(root),
      descriptors_(DescriptorCapacity()),
      engine_({.budget_bytes = options.cache_size_bytes,
               .threads = options.threads,
               .whole_block_bytes = options.whole_block_limit_bytes}) {}

Filesystem::~Filesystem() = default;

void Filesystem::ReportCollision(int dir, const std::string& winner, const std::string& loser) {
  struct stat st = {};
  os_.FStat(dir, &st);
  const std::string key = std::to_string(st.st_dev) + ":" + std::to_string(st.st_ino) + "/" + loser;
  {
    MutexLock lock(collisions_mutex_);
    if (collisions_.size() >= kMostReportedCollisions || !collisions_.insert(key).second) {
      return;
    }
  }
  engine_.stats.collisions.Add();
  Log(LogLevel::kWarning,
      "'" + winner + "' and '" + loser +
          "' are stored side by side and want the same name: the first gets it, "
          "the other is shown under its stored name; remove or rename one");
}

Result<NodePtr> Filesystem::FindNode(NodeId id) {
  if (NodePtr node = nodes_.Find(id)) {
    return node;
  }
  return Fail(ESTALE, "unknown node " + std::to_string(id));
}

bool Filesystem::IsNode(const Node& node, const struct stat& st) const {
  const Identity now = Identity::Of(st);
  if (node.kind == StoredKind::kCompressed) {
    return now == node.identity;
  }
  return now.device == node.identity.device && now.inode == node.identity.inode;
}

Result<DescriptorPtr> Filesystem::OpenNode(const NodePtr& node) {
  if (node->id == kRootNode) {
    return root_;
  }
  return descriptors_.Get(node->id, [&] { return OpenUncached(node); });
}

Result<DescriptorPtr> Filesystem::OpenParent(const NodePtr& node, std::string* stored_name) {
  NodeTable::Location location = nodes_.LocationOf(node->id);
  *stored_name = std::move(location.stored_name);
  XZFS_ASSIGN_OR_RETURN(const NodePtr parent, FindNode(location.parent));
  return OpenNode(parent);
}

Result<Descriptor> Filesystem::OpenUncached(const NodePtr& node) {
  std::string name;
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr parent, OpenParent(node, &name));
  const int dir = parent->descriptor.get();
  const bool is_dir = node->kind == StoredKind::kDirectory;
  int fd = os_.OpenBeneath(dir, name, is_dir ? O_RDONLY | O_DIRECTORY : O_RDONLY | O_NONBLOCK);
  if (fd == -EACCES && is_dir) {
    // It can't be listed, but names in it may be known.
    fd = os_.OpenBeneath(dir, name, O_PATH | O_DIRECTORY);
  }
  if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP) {
    return Fail(ESTALE, nodes_.PathOf(node->id) + " is no longer there");
  }
  if (fd < 0) {
    return FailErrno(-fd, "open " + nodes_.PathOf(node->id));
  }
  Descriptor descriptor(os_, fd);
  struct stat st = {};
  if (const int error = os_.FStat(fd, &st); error < 0) {
    return FailErrno(-error, "stat " + nodes_.PathOf(node->id));
  }
  if (!IsNode(*node, st)) {
    return Fail(ESTALE, nodes_.PathOf(node->id) + " was changed in the source");
  }
  return descriptor;
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
  Node candidate;
  candidate.kind = entry.kind;
  candidate.format = entry.format;
  candidate.identity = Identity::Of(entry.attributes);
  candidate.attributes = entry.attributes;
  const NodeTable::Location location{parent, entry.stored_name};
  NodePtr node = nodes_.Acquire(entry.kind, entry.format, candidate.identity, location);
  if (node == nullptr) {
    if (entry.kind == StoredKind::kCompressed) {
      const ProbedFile stored(os_, entry);
      const auto path = [&] { return nodes_.PathOf(parent) + "/" + entry.stored_name; };
      const auto file = engine_.files.Get(candidate.identity, entry.format, stored, path);
      if (file) {
        candidate.plain_size = (*file)->index().plain_size();
      } else if (file.error().code == EIO || file.error().code == EFBIG) {
        candidate.damage = file.error();
        engine_.stats.damaged_files.Add();
        Log(LogLevel::kError, "damaged: " + path() + ": " + file.error().message +
                                  "; opening it fails with EIO until the file is replaced");
      } else {
        return tl::unexpected(file.error());
      }
    }
    node = nodes_.AcquireOrAdd(std::move(candidate), location);
  }
  LookupResult result{node->id, entry.attributes};
  ShowAttributes(*node, &result.attributes);
  return result;
}

void Filesystem::Forget(NodeId node, uint64_t count) {
  for (const NodeId gone : nodes_.Forget(node, count)) {
    descriptors_.Drop(gone);
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
  if (const auto parent = OpenParent(node, &name); parent) {
    const int error = os_.StatAt((*parent)->descriptor.get(), name, &st);
    if (error == 0 && IsNode(*node, st)) {
      return st;
    }
    if (error < 0 && error != -ENOENT && error != -ENOTDIR) {
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

Result<std::string> Filesystem::ReadLink(NodeId id) {
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, FindNode(id));
  std::string name;
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr parent, OpenParent(node, &name));
  char target[PATH_MAX];
  const ssize_t length = os_.ReadLinkAt(parent->descriptor.get(), name, target);
  if (length == -ENOENT) {
    return Fail(ESTALE, nodes_.PathOf(id) + " is no longer there");
  }
  if (length < 0) {
    return FailErrno(static_cast<int>(-length), "readlink " + nodes_.PathOf(id));
  }
  std::string text(target, static_cast<size_t>(length));
  if (node->kind == StoredKind::kStrippedLink) {
    if (auto stripped = StripLinkTarget(text)) {
      return std::move(*stripped);
    }
  }
  return text;
}

XzReader::Source Filesystem::SourceOf(const NodePtr& node) {
  return {.identity = node->identity,
          .format = node->format,
          .plain_size = node->plain_size,
          .stored = std::make_shared<NodeFile>(*this, node),
          .name = [this, id = node->id] { return nodes_.PathOf(id); }};
}

Result<std::unique_ptr<OpenFile>> Filesystem::Open(NodeId id, bool* keep_cache) {
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, FindNode(id));
  if (node->kind == StoredKind::kDirectory) {
    return Fail(EISDIR, nodes_.PathOf(id) + " is a directory");
  }
  if (node->kind != StoredKind::kPlain && node->kind != StoredKind::kCompressed) {
    return Fail(ENXIO, nodes_.PathOf(id) + " is not a regular file");
  }
  if (node->damage) {
    return Fail(EIO, nodes_.PathOf(id) + ": " + node->damage->message);
  }
  // A path that the kernel still remembers may lead to an old version: it is stated by name, an
  // open descriptor of the old file would not tell. ESTALE makes the kernel look again.
  std::string name;
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr parent, OpenParent(node, &name));
  struct stat st = {};
  if (const int error = os_.StatAt(parent->descriptor.get(), name, &st); error < 0) {
    return Fail(ESTALE, nodes_.PathOf(id) + " is no longer there");
  }
  if (!IsNode(*node, st)) {
    return Fail(ESTALE, nodes_.PathOf(id) + " was changed in the source");
  }
  XZFS_RETURN_IF_ERROR(OpenNode(node));
  std::unique_ptr<RandomAccessFile> content;
  if (node->kind == StoredKind::kCompressed) {
    content = std::make_unique<XzReader>(engine_, SourceOf(node));
  } else {
    content = std::make_unique<NodeFile>(*this, node);
  }
  const bool same = nodes_.AddOpen(id, Identity::Of(st));
  *keep_cache = same || node->kind == StoredKind::kCompressed;
  return std::make_unique<OpenFile>(node, std::move(content));
}

Result<size_t> Filesystem::Read(const OpenFile& file, uint64_t offset, std::span<std::byte> out) {
  return file.content().ReadAt(offset, out);
}

void Filesystem::Close(std::unique_ptr<OpenFile> file) {
  const NodeId id = file->node()->id;
  file.reset();
  if (nodes_.RemoveOpen(id)) {
    descriptors_.Drop(id);
  }
}

Result<struct statvfs> Filesystem::StatVfs() {
  struct statvfs st = {};
  if (const int error = os_.StatVfs(root_->descriptor.get(), &st); error < 0) {
    return FailErrno(-error, "statfs the source");
  }
  // A logical name must still be a name when it is stored with its suffix.
  st.f_namemax -= std::min<unsigned long>(st.f_namemax, kSuffixReserveBytes);
  return st;
}

Result<std::string> Filesystem::GetXattr(NodeId id, const std::string& key) {
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, FindNode(id));
  if (IsControlKey(key)) {
    if (control_) {
      if (auto answer = control_(id, key)) {
        return std::move(*answer);
      }
    }
    return Fail(ENODATA, "no attribute " + key);
  }
  std::string name = ".";
  DescriptorPtr dir = root_;
  if (id != kRootNode) {
    XZFS_ASSIGN_OR_RETURN(dir, OpenParent(node, &name));
  }
  std::string value(XATTR_SIZE_MAX, '\0');
  const ssize_t length = os_.GetXattrAt(dir->descriptor.get(), name, key, value);
  if (length < 0) {
    return Fail(static_cast<int>(-length), "getxattr " + key);
  }
  value.resize(static_cast<size_t>(length));
  return value;
}

Result<std::string> Filesystem::ListXattr(NodeId id) {
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, FindNode(id));
  std::string name = ".";
  DescriptorPtr dir = root_;
  if (id != kRootNode) {
    XZFS_ASSIGN_OR_RETURN(dir, OpenParent(node, &name));
  }
  std::string stored(XATTR_LIST_MAX, '\0');
  const ssize_t length = os_.ListXattrAt(dir->descriptor.get(), name, stored);
  if (length < 0) {
    return Fail(static_cast<int>(-length), "listxattr");
  }
  stored.resize(static_cast<size_t>(length));
  // Ours are answered by name but not listed, so that `cp -a` and `rsync -X` never copy them; and a
  // stored one of that name can't pose as ours.
  std::string shown;
  for (size_t at = 0; at < stored.size();) {
    const std::string key(stored.c_str() + at);
    at += key.size() + 1;
    if (!IsControlKey(key)) {
      shown += key;
      shown += '\0';
    }
  }
  return shown;
}

Result<FileFigures> Filesystem::Describe(NodeId id) {
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, FindNode(id));
  XZFS_ASSIGN_OR_RETURN(const struct stat st, StatNode(node));
  FileFigures figures;
  figures.stored_name = nodes_.LocationOf(id).stored_name;
  figures.kind = node->kind;
  figures.format = node->format;
  figures.stored_size = static_cast<uint64_t>(st.st_size);
  figures.allocated_bytes = static_cast<uint64_t>(st.st_blocks) * 512;
  figures.plain_size = figures.stored_size;
  if (node->kind != StoredKind::kCompressed) {
    return figures;
  }
  if (node->damage) {
    figures.damage = node->damage->message;
    return figures;
  }
  const XzReader::Source source = SourceOf(node);
  XZFS_ASSIGN_OR_RETURN(const auto file, engine_.files.Get(source.identity, source.format,
                                                           *source.stored, source.name));
  const BlockIndex& index = file->index();
  figures.plain_size = index.plain_size();
  figures.stream_count = index.stream_count();
  figures.block_count = index.block_count();
  figures.largest_block = index.largest_block();
  for (const uint8_t check : index.Checks()) {
    figures.checks.push_back(CheckName(check));
  }
  if (index.block_count() != 0) {
    auto filters = DescribeFilters(*source.stored, index, index.Block(0));
    figures.filters = filters ? *filters : "damaged: " + filters.error().message;
  }
  return figures;
}

}  // namespace xzfs
