// A name is checked and made with names held shared: of two threads that make the same name one
// gets EEXIST from the source. The new file is made with the caller's identity, which gives it its
// owner and group (AsCaller).
#include "fs/new_names.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <climits>
#include <utility>

#include "base/caller.h"
#include "base/try.h"
#include "fs/file_state.h"
#include "fs/lookups.h"
#include "fs/places.h"
#include "store/names.h"

namespace xzfs {
namespace {

StoredKind KindOfNew(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return StoredKind::kDirectory;
    case S_IFLNK:
      return StoredKind::kSymlink;
    case S_IFREG:
      return StoredKind::kPlain;
    default:
      return StoredKind::kSpecial;
  }
}

}  // namespace

NewNames::NewNames(NodeTree& tree, Places& places, Lookups& lookups, Handles& handles,
                   UnfinishedCommits& unfinished, DescriptorQuota& held, Os& os)
    : tree_(tree),
      nodes_(tree.nodes()),
      namespace_(tree.namespace_lock()),
      places_(places),
      lookups_(lookups),
      handles_(handles),
      unfinished_(unfinished),
      held_(held),
      os_(os) {}

Result<LookupResult> NewNames::Create(NodeId parent, const std::string& name, mode_t mode,
                                      int flags, const Caller& caller,
                                      std::unique_ptr<OpenFile>* file) {
  XZFS_RETURN_IF_ERROR(places_.PrepareToName(parent));
  LookupResult found;
  DescriptorPtr plain;  // if the file is new
  {
    SharedLock names(namespace_);
    XZFS_ASSIGN_OR_RETURN(const Place place, places_.PlaceAt(parent, name));
    XZFS_ASSIGN_OR_RETURN(auto entry, places_.EntryAt(place));
    if (entry && (flags & O_EXCL) != 0) {
      return Fail(EEXIST, "'" + name + "' exists");
    }
    if (entry) {
      XZFS_ASSIGN_OR_RETURN(found, lookups_.Register(parent, std::move(*entry)));
    } else {
      XZFS_RETURN_IF_ERROR(places_.RequireShort(place));
      if ((flags & O_ACCMODE) != O_RDONLY) {
        // Checked before the file is made, which could not be opened then.
        XZFS_RETURN_IF_ERROR(held_.Hold(1));
      }
      XZFS_ASSIGN_OR_RETURN(const std::string stored, places_.StoredNameFor(place, {}, nullptr));
      const mode_t masked = places_.MaskedMode(place, mode & 07777, caller);
      const AsCaller as_caller(caller);
      const int fd =
          os_.OpenBeneath(place.fd(), stored, O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, masked);
      if (fd < 0) {
        return FailErrno(-fd, "create '" + stored + "'");
      }
      Descriptor made(os_, fd);
      XZFS_ASSIGN_OR_RETURN(found, lookups_.RegisterNew(place.dir->id, place.fd(), stored));
      plain = std::make_shared<SharedDescriptor>(std::move(made));
      const NodePtr node = nodes_.Find(found.node);
      if ((flags & O_ACCMODE) == O_RDONLY && node != nullptr && !tree_.OpenNode(node)) {
        // Its mode may forbid to open it again: the descriptor that made it is also used for reads.
        tree_.files().Keep(found.node, plain, node->content);
      }
    }
  }
  const int open_flags = flags & ~(O_CREAT | O_EXCL | (plain != nullptr ? O_TRUNC : 0));
  auto opened = handles_.Open(found.node, open_flags, plain);
  if (!opened) {
    tree_.Forget(found.node, 1);
    return Failure(opened.error());
  }
  *file = std::move(opened->file);
  return found;
}

Result<LookupResult> NewNames::Make(NodeId parent, const std::string& name, const NewFile& file,
                                    const Caller& caller) {
  XZFS_RETURN_IF_ERROR(places_.PrepareToName(parent));
  SharedLock names(namespace_);
  XZFS_ASSIGN_OR_RETURN(const Place place, places_.PlaceAt(parent, name));
  XZFS_RETURN_IF_ERROR(places_.RequireFree(place));
  StoredEntry made;
  made.kind = KindOfNew(file.mode);
  XZFS_ASSIGN_OR_RETURN(const std::string stored, places_.StoredNameFor(place, made, nullptr));
  if (const int error = MakeStored(place, stored, file, caller); error < 0) {
    return FailErrno(-error, "make '" + stored + "'");
  }
  return lookups_.RegisterNew(place.dir->id, place.fd(), stored);
}

int NewNames::MakeStored(const Place& place, const std::string& stored, const NewFile& file,
                         const Caller& caller) {
  const bool is_device = S_ISCHR(file.mode) || S_ISBLK(file.mode);
  const AsCaller as_caller(is_device ? Caller{} : caller);
  if (S_ISLNK(file.mode)) {
    return os_.MakeSymlink(file.target, place.fd(), stored);
  }
  const mode_t masked = places_.MaskedMode(place, file.mode, caller);
  return S_ISDIR(file.mode) ? os_.MakeDir(place.fd(), stored, masked & ~mode_t{S_IFMT})
                            : os_.MakeNode(place.fd(), stored, masked, file.device);
}

Result<LookupResult> NewNames::Link(NodeId id, NodeId parent, const std::string& name) {
  XZFS_RETURN_IF_ERROR(places_.PrepareToName(parent));
  ExclusiveLock names(namespace_);
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, tree_.FindNode(id));
  XZFS_ASSIGN_OR_RETURN(const Place place, places_.PlaceAt(parent, name));
  XZFS_ASSIGN_OR_RETURN(const auto entry, places_.EntryAt(place));
  if (entry) {
    return Fail(EEXIST, "'" + name + "' exists");
  }
  if (tree_.tops().ZoneOf(id) != tree_.tops().ZoneOf(parent)) {
    return Fail(EXDEV, "'" + name + "' would be on another file system");
  }
  std::string from;
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr dir, tree_.OpenParent(node, &from));
  const auto stripped = node->kind == StoredKind::kCompressed ? StripSuffix(from) : std::nullopt;
  if (name != (stripped ? stripped->logical : StripEscape(from).value_or(from))) {
    XZFS_RETURN_IF_ERROR(places_.RequireShort(place));
  }
  XZFS_RETURN_IF_ERROR(tree_.StatName(*node, dir->descriptor.get(), from));
  StoredEntry kind;
  kind.stored_name = from;
  kind.kind = node->kind;
  kind.format = node->format;
  XZFS_ASSIGN_OR_RETURN(const std::string stored, places_.StoredNameFor(place, kind, nullptr));
  if (node->state != nullptr) {
    FileLock lock(*node->state);
    XZFS_RETURN_IF_ERROR(unfinished_.Cancel(node, *node->state));
  }
  if (const int error = os_.Link(dir->descriptor.get(), from, place.fd(), stored); error < 0) {
    return FailErrno(-error, "link '" + stored + "'");
  }
  XZFS_RETURN_IF_ERROR(tree_.Refresh(node));
  return lookups_.RegisterNew(place.dir->id, place.fd(), stored);
}

}  // namespace xzfs
