// Changing attributes. They belong to the stored file, but for size and times of an edited one,
// which are its overlay's.
//
// A change of a compressed file's attributes changes the identity by which its node is known. So
// nobody looks at names meanwhile (the namespace lock), and the node gets its new identity before
// anybody does.
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "fs/filesystem.h"
#include "store/names.h"
#include "store/replace_rights.h"

namespace xzfs {
namespace {

bool IsControlKey(std::string_view key) { return key.starts_with("user.xzfs."); }

// A caller that isn't in the group of a program may not let others run it in that group. The
// caller's supplementary groups aren't known here, so they don't count.
bool LosesSetGid(const struct stat& st, const Caller& caller) {
  return S_ISREG(st.st_mode) && (st.st_mode & S_ISGID) != 0 && caller.uid != 0 &&
         caller.gid != st.st_gid;
}

}  // namespace

// How attributes of a file are changed. Each returns -errno.
struct Filesystem::Changer {
  std::function<int(int dir, const std::string& name)> by_name;
  std::function<int(int fd)> by_fd;                      // of one that has no name any more
  std::function<Status(Overlay&)> of_overlay = nullptr;  // instead, if it has one; may be null
};

// The identity and the attributes that the stored file has now.
Status Filesystem::Refresh(const NodePtr& node) {
  if (node->kind != StoredKind::kCompressed) {
    return {};
  }
  std::string name;
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr parent, OpenParent(node, &name));
  struct stat st = {};
  if (const int error = os_.StatAt(parent->descriptor.get(), name, &st); error < 0) {
    return FailErrno(-error, "stat " + nodes_.PathOf(node->id));
  }
  return RefreshFrom(node, st, name);
}

// `st` is of the stored file now. `name`: that it is stored under.
Status Filesystem::RefreshFrom(const NodePtr& node, const struct stat& st,
                               const std::string& name) {
  const Identity identity = Identity::Of(st);
  if (FileId::Of(identity) != FileId::Of(node->identity) ||
      identity.size_bytes != node->identity.size_bytes) {
    return Fail(ESTALE, nodes_.PathOf(node->id) + " was replaced");
  }
  const NodePtr now = nodes_.Update(node->id, [&](Node& changed) {
    changed.identity = identity;
    changed.attributes = st;
    changed.kept_ctime.reset();
  });
  if (node->kind == StoredKind::kCompressed && node->identity != identity) {
    engine_.files.Drop(node->identity, node->format);  // its units are found by their id
    engine_.small_files.Drop(node->identity);
  }
  if (now != nullptr && !now->damage) {
    const auto stripped = StripSuffix(name);
    known_.Add(identity, stripped ? stripped->suffix : Suffix::kXz, now->KnownAs());
  }
  return {};
}

Status Filesystem::ChangeByNameOrFd(NodeId id, const Changer& changer) {
  ExclusiveLock names(namespace_);
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, FindNode(id));
  if (node->state == nullptr) {
    return ChangeWith(node, changer);
  }
  // So that no overlay is made over what is changing.
  MutexLock lock(node->state->mutex);
  // What is being committed has the old attributes.
  XZFS_RETURN_IF_ERROR(CancelCommit(node, *node->state));
  if (changer.of_overlay && node->state->overlay != nullptr) {
    return changer.of_overlay(*node->state->overlay);
  }
  XZFS_RETURN_IF_ERROR(ChangeWith(node, changer));
  if (node->state->overlay != nullptr) {
    // The ctime that is shown is the later one of two files, whose clocks may be of different
    // grain: only so it moves for sure.
    node->state->overlay->TouchCtime();
  }
  return {};
}

Status Filesystem::ChangeWith(const NodePtr& node, const Changer& changer) {
  const NodeId id = node->id;
  if (const DescriptorPtr kept = KeptDescriptor(node)) {
    const int error = changer.by_fd(kept->descriptor.get());
    if (error < 0) {
      return FailErrno(-error, "change " + nodes_.PathOf(id));
    }
    struct stat st = {};
    if (const int failed = os_.FStat(kept->descriptor.get(), &st); failed < 0) {
      return FailErrno(-failed, "stat " + nodes_.PathOf(id));
    }
    return node->kind == StoredKind::kCompressed
               ? RefreshFrom(node, st, nodes_.LocationOf(id).stored_name)
               : Status();
  }
  std::string name = ".";
  DescriptorPtr dir = root_;
  if (id != kRootNode) {
    XZFS_ASSIGN_OR_RETURN(dir, OpenParent(node, &name));
    XZFS_RETURN_IF_ERROR(StatName(*node, dir->descriptor.get(), name));
  }
  const int error = changer.by_name(dir->descriptor.get(), name);
  if (error < 0) {
    return FailErrno(-error, "change " + nodes_.PathOf(id));
  }
  if (node->kept_ctime && node->kind != StoredKind::kCompressed) {
    nodes_.Update(id, [](Node& changed) { changed.kept_ctime.reset(); });
  }
  return Refresh(node);
}

Status Filesystem::ChangeStored(const NodePtr& node, const AttributeChange& change) {
  if (change.uid || change.gid) {
    const uid_t uid = change.uid.value_or(static_cast<uid_t>(-1));
    const gid_t gid = change.gid.value_or(static_cast<gid_t>(-1));
    XZFS_RETURN_IF_ERROR(ChangeByNameOrFd(
        node->id,
        {.by_name = [&](int dir,
                        const std::string& name) { return os_.ChangeOwner(dir, name, uid, gid); },
         .by_fd = [&](int fd) { return os_.FChangeOwner(fd, uid, gid); }}));
  }
  if (change.mode) {
    const mode_t mode = *change.mode & 07777;
    XZFS_RETURN_IF_ERROR(ChangeByNameOrFd(
        node->id,
        {.by_name = [&](int dir,
                        const std::string& name) { return os_.ChangeMode(dir, name, mode); },
         .by_fd = [&](int fd) { return os_.FChangeMode(fd, mode); }}));
  }
  return {};
}

Status Filesystem::ChangeTimes(const NodePtr& node, const AttributeChange& change) {
  const struct timespec omit = {.tv_sec = 0, .tv_nsec = UTIME_OMIT};
  const struct timespec times[2] = {change.atime.value_or(omit), change.mtime.value_or(omit)};
  return ChangeByNameOrFd(
      node->id,
      {.by_name = [&](int dir, const std::string& name) { return os_.SetTimes(dir, name, times); },
       .by_fd = [&](int fd) { return os_.FSetTimes(fd, times); },
       .of_overlay = [&](Overlay& overlay) -> Status {
         std::string name;
         const auto parent = OpenParent(node, &name);
         if (parent && KeptDescriptor(node) == nullptr) {  // else it has no name
           const bool to_now = change.atime && change.atime->tv_nsec == UTIME_NOW && change.mtime &&
                               change.mtime->tv_nsec == UTIME_NOW;
           XZFS_RETURN_IF_ERROR(MayChangeTimes(os_, (*parent)->descriptor.get(), name, to_now));
         }
         return overlay.SetTimes(times);
       }});
}

Result<struct stat> Filesystem::SetAttributes(NodeId id, const AttributeChange& change,
                                              const OpenFile* file) {
  XZFS_RETURN_IF_ERROR(RequireWritableAt(id));
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, FindNode(id));
  XZFS_RETURN_IF_ERROR(ChangeStored(node, change));
  if (change.size) {
    if (file != nullptr && file->may_write()) {
      XZFS_RETURN_IF_ERROR(Resize(id, *change.size, file));
    } else {
      XZFS_ASSIGN_OR_RETURN(const NodePtr writing, BeginWriting(id, O_WRONLY));
      const Status resized = Resize(id, *change.size);
      EndWriting(writing);
      XZFS_RETURN_IF_ERROR(resized);
    }
  }
  if (change.atime || change.mtime) {
    XZFS_ASSIGN_OR_RETURN(const NodePtr now, FindNode(id));
    XZFS_RETURN_IF_ERROR(ChangeTimes(now, change));
  }
  return GetAttributes(id);
}

Status Filesystem::SetXattr(NodeId id, const std::string& key, std::span<const char> value,
                            int flags, const Caller& caller) {
  if (IsControlKey(key)) {
    return Fail(EPERM, "the attributes user.xzfs.* are the mount's own");
  }
  XZFS_RETURN_IF_ERROR(RequireWritableAt(id));
  const bool is_acl = key == "system.posix_acl_access";
  return ChangeByNameOrFd(
      id, {.by_name =
               [&](int dir, const std::string& name) {
                 int error = os_.SetXattrAt(dir, name, key, value, flags);
                 struct stat st = {};
                 if (error == 0 && is_acl && os_.StatAt(dir, name, &st) == 0 &&
                     LosesSetGid(st, caller)) {
                   error = os_.ChangeMode(dir, name, st.st_mode & 07777 & ~mode_t{S_ISGID});
                 }
                 return error;
               },
           .by_fd =
               [&](int fd) {
                 int error = os_.FSetXattr(fd, key, value, flags);
                 struct stat st = {};
                 if (error == 0 && is_acl && os_.FStat(fd, &st) == 0 && LosesSetGid(st, caller)) {
                   error = os_.FChangeMode(fd, st.st_mode & 07777 & ~mode_t{S_ISGID});
                 }
                 return error;
               }});
}

Status Filesystem::RemoveXattr(NodeId id, const std::string& key) {
  if (IsControlKey(key)) {
    return Fail(EPERM, "the attributes user.xzfs.* are the mount's own");
  }
  XZFS_RETURN_IF_ERROR(RequireWritableAt(id));
  return ChangeByNameOrFd(
      id, {.by_name = [&](int dir,
                          const std::string& name) { return os_.RemoveXattrAt(dir, name, key); },
           .by_fd = [&](int fd) { return os_.FRemoveXattr(fd, key); }});
}

}  // namespace xzfs
