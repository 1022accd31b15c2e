// Making names, and how long they may be.
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <climits>
#include <utility>

#include "fs/filesystem.h"
#include "fs/filesystem_places.h"
#include "store/names.h"

namespace xzfs {
namespace {

size_t LongestName(const struct statvfs& st, bool read_only) {
  const size_t reserve = read_only ? kSuffixReserveBytes : kWritableReserveBytes;
  return st.f_namemax - std::min<size_t>(st.f_namemax, reserve);
}

}  // namespace

// A name in the directory is about to be made, changed or removed. REQUIRES: no lock is held.
Status Filesystem::PrepareToName(NodeId parent) {
  XZFS_RETURN_IF_ERROR(EnterDirectory(parent));
  return RequireWritableAt(parent);
}

Result<Filesystem::Place> Filesystem::PlaceAt(NodeId parent, const std::string& name) {
  XZFS_ASSIGN_OR_RETURN(const NodePtr dir, FindNode(parent));
  if (dir->kind != StoredKind::kDirectory) {
    return Fail(ENOTDIR, nodes_.PathOf(parent) + " is not a directory");
  }
  if (dir->is_removed) {
    return Fail(ENOENT, nodes_.PathOf(parent) + " was removed");
  }
  if (name.size() > NAME_MAX) {
    return Fail(ENAMETOOLONG, "a name of " + std::to_string(name.size()) + " bytes");
  }
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos) {
    return Fail(EINVAL, "'" + name + "' is no name");
  }
  XZFS_ASSIGN_OR_RETURN(DescriptorPtr descriptor, OpenNode(dir));
  if (IsPrivate(parent, descriptor->descriptor.get(), name)) {
    return Fail(EPERM, "the name .xzfs is the mount's own");
  }
  return Place{dir, std::move(descriptor), name};
}

Result<std::optional<StoredEntry>> Filesystem::EntryAt(const Place& place) {
  auto entry = names_.Lookup(place.fd(), place.name);
  if (!entry) {
    return entry.error().code == ENOENT ? Result<std::optional<StoredEntry>>(std::nullopt)
                                        : tl::unexpected(entry.error());
  }
  return std::optional(std::move(*entry));
}

// The name under which `entry` is to be stored in `place`, to be shown with its name. `replaced`:
// what has that name now and goes; may be null.
Result<std::string> Filesystem::StoredNameFor(const Place& place, const StoredEntry& entry,
                                              const StoredEntry* replaced) {
  const std::string& logical = place.name;
  if (logical == kPrivateFolder) {
    return Fail(EPERM, "the name .xzfs is the mount's own");
  }
  const std::string hot = HotNameOf(logical);
  std::string stored = logical;
  switch (entry.kind) {
    case StoredKind::kPlain:
      // A name without room for the suffix is one that the source has, and so has its content.
      stored = hot.size() > NAME_MAX && entry.stored_name == logical ? logical : hot;
      break;
    case StoredKind::kCompressed:
      stored = ColdNameOf(logical, entry.format);
      break;
    case StoredKind::kStrippedLink:
      stored = ColdNameOf(logical, Format::kXz);
      break;
    case StoredKind::kSymlink:
      stored = hot;
      break;
    case StoredKind::kDirectory:
    case StoredKind::kSpecial: {
      // Themselves, unless a cold file is stored under that very name.
      struct stat st = {};
      const bool is_replaced = replaced != nullptr && replaced->stored_name == logical;
      if (hot != logical && !is_replaced && os_.StatAt(place.fd(), logical, &st) == 0 &&
          FileId::Of(st) != FileId::Of(entry.attributes)) {
        stored = hot;
      }
      break;
    }
  }
  if (stored.size() > NAME_MAX) {
    return Fail(ENAMETOOLONG, "'" + logical + "' would be stored under too long a name");
  }
  return stored;
}

// `fd` is of the directory `dir`, or of any file of its file system.
size_t Filesystem::LongestNameIn(const Node& dir, int fd) {
  const uint64_t device = dir.identity.device;
  {
    MutexLock lock(limits_mutex_);
    const auto known = longest_names_.find(device);
    if (known != longest_names_.end()) {
      return known->second;
    }
  }
  struct statvfs st = {};
  if (os_.StatVfs(fd, &st) < 0) {
    return NAME_MAX;  // the source says what is too long
  }
  const size_t longest = LongestName(st, options_.read_only);
  MutexLock lock(limits_mutex_);
  longest_names_.emplace(device, longest);
  return longest;
}

// Names that are longer than new ones may be, and are there. A rename or link that keeps one looks
// it up where it goes to, and must be told that it's free there; who looks up another one is told
// that it's too long.
void Filesystem::NoteLongName(const std::string& name) {
  constexpr size_t kShortest = NAME_MAX - kWritableReserveBytes;  // shorter ones are never too long
  constexpr size_t kMostNames = 4096;
  if (name.size() > kShortest) {
    MutexLock lock(limits_mutex_);
    if (long_names_.size() >= kMostNames) {
      long_names_.clear();
    }
    long_names_.insert(name);
  }
}

bool Filesystem::IsLongNameKnown(const std::string& name) {
  MutexLock lock(limits_mutex_);
  return long_names_.contains(name);
}

// For a name that is new. What the source has may be longer.
Status Filesystem::RequireShort(const Place& place) {
  if (place.name.size() > LongestNameIn(*place.dir, place.fd())) {
    return Fail(ENAMETOOLONG, "'" + place.name + "' is longer than statfs says that a name may be");
  }
  return {};
}

Result<struct statvfs> Filesystem::StatVfs(NodeId id) {
  const auto ask = [&]() -> Result<struct statvfs> {
    SharedLock names(namespace_);
    XZFS_ASSIGN_OR_RETURN(const NodePtr node, FindNode(id));
    std::string name;
    XZFS_ASSIGN_OR_RETURN(const DescriptorPtr dir, node->kind == StoredKind::kDirectory
                                                       ? OpenNode(node)
                                                       : OpenParent(node, &name));
    struct statvfs st = {};
    const int error = os_.StatVfs(dir->descriptor.get(), &st);
    return error < 0 ? Result<struct statvfs>(FailErrno(-error, "statfs")) : st;
  };
  Result<struct statvfs> st = ask();
  if (!st && st.error().code == ESTALE) {  // it is used without a name
    struct statvfs of_source = {};
    if (const int error = os_.StatVfs(root_->descriptor.get(), &of_source); error < 0) {
      return FailErrno(-error, "statfs the source");
    }
    st = of_source;
  }
  XZFS_RETURN_IF_ERROR(st);
  // A logical name must still be a name when it is stored with its suffix.
  st->f_namemax = LongestName(*st, options_.read_only);
  return st;
}

Result<LookupResult> Filesystem::RegisterNew(const Place& place, const std::string& stored_name) {
  XZFS_ASSIGN_OR_RETURN(auto entry, names_.Show(place.fd(), stored_name));
  if (!entry) {
    return Fail(ENOENT, "'" + stored_name + "' vanished");
  }
  return Register(place.dir->id, std::move(*entry));
}

// A default ACL of the directory takes the place of the umask.
mode_t Filesystem::MaskedMode(const Place& place, mode_t mode, const Caller& caller) {
  if ((mode & caller.umask) != 0 &&
      os_.GetXattrAt(place.fd(), ".", "system.posix_acl_default", {}) > 0) {
    return mode;
  }
  return mode & ~caller.umask;
}

Result<LookupResult> Filesystem::Create(NodeId parent, const std::string& name, mode_t mode,
                                        int flags, const Caller& caller,
                                        std::unique_ptr<OpenFile>* file) {
  XZFS_RETURN_IF_ERROR(PrepareToName(parent));
  LookupResult found;
  DescriptorPtr hot;  // if it is new
  {
    SharedLock names(namespace_);
    XZFS_ASSIGN_OR_RETURN(const Place place, PlaceAt(parent, name));
    XZFS_ASSIGN_OR_RETURN(auto entry, EntryAt(place));
    if (entry && (flags & O_EXCL) != 0) {
      return Fail(EEXIST, "'" + name + "' exists");
    }
    if (entry) {
      XZFS_ASSIGN_OR_RETURN(found, Register(parent, std::move(*entry)));
    } else {
      XZFS_RETURN_IF_ERROR(RequireShort(place));
      if ((flags & O_ACCMODE) != O_RDONLY) {
        // Before there is a file that could not be opened.
        XZFS_RETURN_IF_ERROR(held_.Hold(1));
      }
      XZFS_ASSIGN_OR_RETURN(const std::string stored, StoredNameFor(place, {}, nullptr));
      const mode_t masked = MaskedMode(place, mode & 07777, caller);
      const AsCaller as_caller(caller);
      const int fd =
          os_.OpenBeneath(place.fd(), stored, O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, masked);
      if (fd < 0) {
        return FailErrno(-fd, "create '" + stored + "'");
      }
      Descriptor made(os_, fd);
      XZFS_ASSIGN_OR_RETURN(found, RegisterNew(place, stored));
      hot = std::make_shared<SharedDescriptor>(std::move(made));
      const NodePtr node = nodes_.Find(found.node);
      if ((flags & O_ACCMODE) == O_RDONLY && node != nullptr && !OpenNode(node)) {
        // Its mode doesn't let us open it again: the descriptor that made it serves the reads, too.
        files_.Keep(found.node, hot, node->content);
      }
    }
  }
  const int open_flags = flags & ~(O_CREAT | O_EXCL | (hot != nullptr ? O_TRUNC : 0));
  bool keep_cache = false;
  auto opened = OpenWith(found.node, open_flags, hot, &keep_cache);
  if (!opened) {
    Forget(found.node, 1);
    return tl::unexpected(opened.error());
  }
  *file = std::move(*opened);
  return found;
}

Result<LookupResult> Filesystem::MakeNode(NodeId parent, const std::string& name, mode_t mode,
                                          dev_t device, const Caller& caller) {
  XZFS_RETURN_IF_ERROR(PrepareToName(parent));
  SharedLock names(namespace_);
  XZFS_ASSIGN_OR_RETURN(const Place place, PlaceAt(parent, name));
  XZFS_RETURN_IF_ERROR(RequireFree(place));
  StoredEntry kind;
  kind.kind = S_ISREG(mode) ? StoredKind::kPlain : StoredKind::kSpecial;
  XZFS_ASSIGN_OR_RETURN(const std::string stored, StoredNameFor(place, kind, nullptr));
  {
    const AsCaller as_caller(S_ISCHR(mode) || S_ISBLK(mode) ? Caller{} : caller);
    const int error = os_.MakeNode(place.fd(), stored, MaskedMode(place, mode, caller), device);
    if (error < 0) {
      return FailErrno(-error, "mknod '" + stored + "'");
    }
  }
  return RegisterNew(place, stored);
}

Result<LookupResult> Filesystem::MakeDirectory(NodeId parent, const std::string& name, mode_t mode,
                                               const Caller& caller) {
  XZFS_RETURN_IF_ERROR(PrepareToName(parent));
  SharedLock names(namespace_);
  XZFS_ASSIGN_OR_RETURN(const Place place, PlaceAt(parent, name));
  XZFS_RETURN_IF_ERROR(RequireFree(place));
  StoredEntry kind;
  kind.kind = StoredKind::kDirectory;
  XZFS_ASSIGN_OR_RETURN(const std::string stored, StoredNameFor(place, kind, nullptr));
  {
    const AsCaller as_caller(caller);
    const int error = os_.MakeDir(place.fd(), stored, MaskedMode(place, mode, caller));
    if (error < 0) {
      return FailErrno(-error, "mkdir '" + stored + "'");
    }
  }
  return RegisterNew(place, stored);
}

Result<LookupResult> Filesystem::MakeSymlink(NodeId parent, const std::string& name,
                                             const std::string& target, const Caller& caller) {
  XZFS_RETURN_IF_ERROR(PrepareToName(parent));
  SharedLock names(namespace_);
  XZFS_ASSIGN_OR_RETURN(const Place place, PlaceAt(parent, name));
  XZFS_RETURN_IF_ERROR(RequireFree(place));
  StoredEntry kind;
  kind.kind = StoredKind::kSymlink;
  XZFS_ASSIGN_OR_RETURN(const std::string stored, StoredNameFor(place, kind, nullptr));
  {
    const AsCaller as_caller(caller);
    if (const int error = os_.MakeSymlink(target, place.fd(), stored); error < 0) {
      return FailErrno(-error, "symlink '" + stored + "'");
    }
  }
  return RegisterNew(place, stored);
}

Status Filesystem::RequireFree(const Place& place) {
  XZFS_ASSIGN_OR_RETURN(const auto entry, EntryAt(place));
  return entry ? Status(Fail(EEXIST, "'" + place.name + "' exists")) : RequireShort(place);
}

Result<LookupResult> Filesystem::Link(NodeId id, NodeId parent, const std::string& name) {
  XZFS_RETURN_IF_ERROR(PrepareToName(parent));
  ExclusiveLock names(namespace_);
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, FindNode(id));
  XZFS_ASSIGN_OR_RETURN(const Place place, PlaceAt(parent, name));
  XZFS_ASSIGN_OR_RETURN(const auto entry, EntryAt(place));
  if (entry) {
    return Fail(EEXIST, "'" + name + "' exists");
  }
  if (nodes_.ZoneOf(id) != nodes_.ZoneOf(parent)) {
    return Fail(EXDEV, "'" + name + "' would be on another file system");
  }
  std::string from;
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr dir, OpenParent(node, &from));
  const auto stripped = node->kind == StoredKind::kCompressed ? StripSuffix(from) : std::nullopt;
  if (name != (stripped ? stripped->logical : StripEscape(from).value_or(from))) {
    XZFS_RETURN_IF_ERROR(RequireShort(place));
  }
  XZFS_RETURN_IF_ERROR(StatName(*node, dir->descriptor.get(), from));
  StoredEntry kind;
  kind.stored_name = from;
  kind.kind = node->kind;
  kind.format = node->format;
  XZFS_ASSIGN_OR_RETURN(const std::string stored, StoredNameFor(place, kind, nullptr));
  if (node->state != nullptr) {
    MutexLock lock(node->state->mutex);
    XZFS_RETURN_IF_ERROR(CancelCommit(node, *node->state));
  }
  if (const int error = os_.Link(dir->descriptor.get(), from, place.fd(), stored); error < 0) {
    return FailErrno(-error, "link '" + stored + "'");
  }
  XZFS_RETURN_IF_ERROR(Refresh(node));
  return RegisterNew(place, stored);
}

}  // namespace xzfs
