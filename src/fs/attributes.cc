// A change of a compressed file's attributes changes the identity by which its node is known. So
// the change holds the namespace lock: no thread looks at names before the node has its new
// identity.
#include "fs/attributes.h"

#include <fcntl.h>
#include <linux/limits.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "base/caller.h"
#include "base/try.h"
#include "fs/answers.h"
#include "fs/control_attributes.h"
#include "fs/file_state.h"
#include "fs/name_limits.h"
#include "fs/unfinished_commits.h"
#include "store/names.h"
#include "store/overlay.h"
#include "store/replace_rights.h"

namespace xzfs {
namespace {

// A caller that isn't in the group of a program may not let others run it with that group. The
// caller's supplementary groups aren't known here, so they don't count.
bool LosesSetGid(const struct stat& st, const Caller& caller) {
  return S_ISREG(st.st_mode) && (st.st_mode & S_ISGID) != 0 && caller.uid != 0 &&
         caller.gid != st.st_gid;
}

}  // namespace

Attributes::Attributes(NodeTree& tree, ZoneTable& zones, UnfinishedCommits& unfinished,
                       NameLimits& limits, Os& os)
    : tree_(tree),
      nodes_(tree.nodes()),
      namespace_(tree.namespace_lock()),
      zones_(zones),
      unfinished_(unfinished),
      limits_(limits),
      os_(os) {}

Status Attributes::ChangeByNameOrFd(NodeId id, const Changer& changer) {
  ExclusiveLock names(namespace_);
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, tree_.FindNode(id));
  if (node->state == nullptr) {
    return ChangeWith(node, changer);
  }
  // Locked, so that no overlay is made while the attributes change.
  FileLock lock(*node->state);
  // A running commit has used the old attributes.
  XZFS_RETURN_IF_ERROR(unfinished_.Cancel(node, *node->state));
  if (changer.of_overlay && node->state->overlay() != nullptr) {
    return changer.of_overlay(*node->state->overlay());
  }
  XZFS_RETURN_IF_ERROR(ChangeWith(node, changer));
  if (node->state->overlay() != nullptr) {
    // The mount shows the later ctime of two files, whose clocks may differ in grain. Changing both
    // makes sure that it moves.
    node->state->overlay()->TouchCtime();
  }
  return {};
}

Status Attributes::ChangeWith(const NodePtr& node, const Changer& changer) {
  const NodeId id = node->id;
  if (const DescriptorPtr kept = tree_.KeptDescriptor(node)) {
    const int error = changer.by_fd(kept->descriptor.get());
    if (error < 0) {
      return FailErrno(-error, "change " + nodes_.PathOf(id));
    }
    struct stat st = {};
    if (const int failed = os_.FStat(kept->descriptor.get(), &st); failed < 0) {
      return FailErrno(-failed, "stat " + nodes_.PathOf(id));
    }
    return node->kind == StoredKind::kCompressed
               ? tree_.RefreshFrom(node, st, nodes_.LocationOf(id).stored_name)
               : Status();
  }
  std::string name = ".";
  DescriptorPtr dir = tree_.root();
  if (id != kRootNode) {
    XZFS_ASSIGN_OR_RETURN(dir, tree_.OpenParent(node, &name));
    XZFS_RETURN_IF_ERROR(tree_.StatName(*node, dir->descriptor.get(), name));
  }
  const int error = changer.by_name(dir->descriptor.get(), name);
  if (error < 0) {
    return FailErrno(-error, "change " + nodes_.PathOf(id));
  }
  if (node->kept_ctime && node->kind != StoredKind::kCompressed) {
    nodes_.Update(id, [](Node& changed) { changed.kept_ctime.reset(); });
  }
  return tree_.Refresh(node);
}

Status Attributes::ChangeStored(const NodePtr& node, const AttributeChange& change) {
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

Status Attributes::ChangeTimes(const NodePtr& node, const AttributeChange& change) {
  const struct timespec omit = {.tv_sec = 0, .tv_nsec = UTIME_OMIT};
  const struct timespec times[2] = {change.atime.value_or(omit), change.mtime.value_or(omit)};
  return ChangeByNameOrFd(
      node->id,
      {.by_name = [&](int dir, const std::string& name) { return os_.SetTimes(dir, name, times); },
       .by_fd = [&](int fd) { return os_.FSetTimes(fd, times); },
       .of_overlay = [&](Overlay& overlay) -> Status {
         std::string name;
         const auto parent = tree_.OpenParent(node, &name);
         if (parent && tree_.KeptDescriptor(node) == nullptr) {  // else the file has no name
           const bool to_now = change.atime && change.atime->tv_nsec == UTIME_NOW && change.mtime &&
                               change.mtime->tv_nsec == UTIME_NOW;
           XZFS_RETURN_IF_ERROR(MayChangeTimes(os_, (*parent)->descriptor.get(), name, to_now));
         }
         return overlay.SetTimes(times);
       }});
}

Result<std::string> Attributes::GetXattr(NodeId id, const std::string& key) {
  if (IsControlKey(key)) {
    return Fail(ENODATA, "no attribute " + key);
  }
  // The kernel asks for file capabilities before each write, and mostly there are none.
  constexpr size_t kUsualBytes = 256;
  std::string value(kUsualBytes, '\0');
  const auto ask = [&] {
    return AskByNameOrFd(
        id, "getxattr " + key,
        [&](int dir, const std::string& name) { return os_.GetXattrAt(dir, name, key, value); },
        [&](int fd) { return os_.FGetXattr(fd, key, value); });
  };
  Result<size_t> length = ask();
  if (!length && length.error().code == ERANGE) {
    value.assign(XATTR_SIZE_MAX, '\0');
    length = ask();
  }
  XZFS_RETURN_IF_ERROR(length);
  value.resize(*length);
  return value;
}

// Calls `by_name(dir, name)`, or `by_fd(fd)` if the file is open already or has no name any more.
// Each returns a length or -errno.
template <class ByName, class ByFd>
Result<size_t> Attributes::AskByNameOrFd(NodeId id, const std::string& what, ByName by_name,
                                         ByFd by_fd) {
  SharedLock names(namespace_);
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, tree_.FindNode(id));
  ssize_t length = 0;
  DescriptorPtr open = tree_.KeptDescriptor(node);
  if (open == nullptr && node->kind == StoredKind::kPlain && node->state != nullptr) {
    FileLock lock(*node->state);
    open = node->state->plain().file;
  }
  if (open != nullptr) {
    length = by_fd(open->descriptor.get());
  } else {
    std::string name = ".";
    DescriptorPtr dir = tree_.root();
    if (id != kRootNode) {
      XZFS_ASSIGN_OR_RETURN(dir, tree_.OpenParent(node, &name));
      XZFS_RETURN_IF_ERROR(tree_.StatName(*node, dir->descriptor.get(), name));
    }
    length = by_name(dir->descriptor.get(), name);
  }
  return length < 0 ? Result<size_t>(Fail(static_cast<int>(-length), what))
                    : static_cast<size_t>(length);
}

Result<std::string> Attributes::ListXattr(NodeId id, bool with_trusted) {
  std::string stored(XATTR_LIST_MAX, '\0');
  XZFS_ASSIGN_OR_RETURN(
      const size_t length,
      AskByNameOrFd(
          id, "listxattr",
          [&](int dir, const std::string& name) { return os_.ListXattrAt(dir, name, stored); },
          [&](int fd) { return os_.FListXattr(fd, stored); }));
  stored.resize(length);
  // The mount answers its own attributes by name but doesn't list them, so that `cp -a` and `rsync
  // -X` never copy them. A stored attribute of such a name is hidden.
  std::string shown;
  for (size_t at = 0; at < stored.size();) {
    const std::string key(stored.c_str() + at);
    at += key.size() + 1;
    if (!IsControlKey(key) && (with_trusted || !key.starts_with("trusted."))) {
      shown += key;
      shown += '\0';
    }
  }
  return shown;
}

Status Attributes::SetXattr(NodeId id, const std::string& key, std::span<const char> value,
                            int flags, const Caller& caller) {
  if (IsControlKey(key)) {
    return Fail(EPERM, "the attributes user.xzfs.* are the mount's own");
  }
  XZFS_RETURN_IF_ERROR(zones_.RequireWritableAt(id));
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

Status Attributes::RemoveXattr(NodeId id, const std::string& key) {
  if (IsControlKey(key)) {
    return Fail(EPERM, "the attributes user.xzfs.* are the mount's own");
  }
  XZFS_RETURN_IF_ERROR(zones_.RequireWritableAt(id));
  return ChangeByNameOrFd(
      id, {.by_name = [&](int dir,
                          const std::string& name) { return os_.RemoveXattrAt(dir, name, key); },
           .by_fd = [&](int fd) { return os_.FRemoveXattr(fd, key); }});
}

Result<struct statvfs> Attributes::StatVfs(NodeId id) {
  const auto ask = [&]() -> Result<struct statvfs> {
    SharedLock names(namespace_);
    XZFS_ASSIGN_OR_RETURN(const NodePtr node, tree_.FindNode(id));
    std::string name;
    XZFS_ASSIGN_OR_RETURN(const DescriptorPtr dir, node->kind == StoredKind::kDirectory
                                                       ? tree_.OpenNode(node)
                                                       : tree_.OpenParent(node, &name));
    struct statvfs st = {};
    const int error = os_.StatVfs(dir->descriptor.get(), &st);
    return error < 0 ? Result<struct statvfs>(FailErrno(-error, "statfs")) : st;
  };
  Result<struct statvfs> st = ask();
  if (!st && st.error().code == ESTALE) {  // the file is used without a name
    struct statvfs of_source = {};
    if (const int error = os_.StatVfs(tree_.root()->descriptor.get(), &of_source); error < 0) {
      return FailErrno(-error, "statfs the source");
    }
    st = of_source;
  }
  XZFS_RETURN_IF_ERROR(st);
  // A name must have room for its suffix in the source.
  st->f_namemax = limits_.LongestOn(*st);
  return st;
}

}  // namespace xzfs
