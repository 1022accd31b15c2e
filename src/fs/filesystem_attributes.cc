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

namespace xzfs {
namespace {

bool IsControlKey(std::string_view key) { return key.starts_with("user.xzfs."); }

}  // namespace

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
  const Identity identity = Identity::Of(st);
  if (identity.inode != node->identity.inode || identity.size_bytes != node->identity.size_bytes) {
    return Fail(ESTALE, nodes_.PathOf(node->id) + " was replaced");
  }
  const NodePtr now = nodes_.Update(node->id, [&](Node& changed) {
    changed.identity = identity;
    changed.attributes = st;
  });
  if (now != nullptr && !now->damage) {
    const auto stripped = StripSuffix(name);
    known_.Add(identity, stripped ? stripped->suffix : Suffix::kXz, now->KnownAs());
  }
  return {};
}

// Calls `by_name(dir, name)`, or `by_fd(fd)` if the file has no name any more. Each returns -errno.
template <class ByName, class ByFd>
Status Filesystem::ChangeByNameOrFd(NodeId id, ByName by_name, ByFd by_fd) {
  ExclusiveLock names(namespace_);
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, FindNode(id));
  if (const DescriptorPtr kept = KeptDescriptor(node)) {
    const int error = by_fd(kept->descriptor.get());
    return error < 0 ? FailErrno(-error, "change " + nodes_.PathOf(id)) : Status();
  }
  std::string name = ".";
  DescriptorPtr dir = root_;
  if (id != kRootNode) {
    XZFS_ASSIGN_OR_RETURN(dir, OpenParent(node, &name));
    XZFS_RETURN_IF_ERROR(StatName(*node, dir->descriptor.get(), name));
  }
  const int error = by_name(dir->descriptor.get(), name);
  if (error < 0) {
    return FailErrno(-error, "change " + nodes_.PathOf(id));
  }
  return Refresh(node);
}

Status Filesystem::ChangeStored(const NodePtr& node, const AttributeChange& change) {
  if (change.uid || change.gid) {
    const uid_t uid = change.uid.value_or(static_cast<uid_t>(-1));
    const gid_t gid = change.gid.value_or(static_cast<gid_t>(-1));
    XZFS_RETURN_IF_ERROR(ChangeByNameOrFd(
        node->id,
        [&](int dir, const std::string& name) { return os_.ChangeOwner(dir, name, uid, gid); },
        [&](int fd) { return os_.FChangeOwner(fd, uid, gid); }));
  }
  if (change.mode) {
    const mode_t mode = *change.mode & 07777;
    XZFS_RETURN_IF_ERROR(ChangeByNameOrFd(
        node->id, [&](int dir, const std::string& name) { return os_.ChangeMode(dir, name, mode); },
        [&](int fd) { return os_.FChangeMode(fd, mode); }));
  }
  return {};
}

Status Filesystem::ChangeTimes(const NodePtr& node, const AttributeChange& change) {
  const struct timespec omit = {.tv_sec = 0, .tv_nsec = UTIME_OMIT};
  const struct timespec times[2] = {change.atime.value_or(omit), change.mtime.value_or(omit)};
  if (node->state != nullptr) {
    MutexLock lock(node->state->mutex);
    // What is being committed has the old times.
    XZFS_RETURN_IF_ERROR(CancelCommit(node, *node->state));
    if (node->state->overlay != nullptr) {
      return node->state->overlay->SetTimes(times);
    }
  }
  return ChangeByNameOrFd(
      node->id, [&](int dir, const std::string& name) { return os_.SetTimes(dir, name, times); },
      [&](int fd) { return os_.FSetTimes(fd, times); });
}

Result<struct stat> Filesystem::SetAttributes(NodeId id, const AttributeChange& change,
                                              const OpenFile* file) {
  XZFS_RETURN_IF_ERROR(RequireWritable());
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, FindNode(id));
  XZFS_RETURN_IF_ERROR(ChangeStored(node, change));
  if (change.size) {
    if (file != nullptr && file->may_write()) {
      XZFS_RETURN_IF_ERROR(Resize(id, *change.size, file));
    } else {
      XZFS_ASSIGN_OR_RETURN(const NodePtr writing, BeginWriting(id));
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
                            int flags) {
  if (IsControlKey(key)) {
    return Fail(EPERM, "the attributes user.xzfs.* are the mount's own");
  }
  XZFS_RETURN_IF_ERROR(RequireWritable());
  return ChangeByNameOrFd(
      id,
      [&](int dir, const std::string& name) {
        return os_.SetXattrAt(dir, name, key, value, flags);
      },
      [&](int fd) { return os_.FSetXattr(fd, key, value, flags); });
}

Status Filesystem::RemoveXattr(NodeId id, const std::string& key) {
  if (IsControlKey(key)) {
    return Fail(EPERM, "the attributes user.xzfs.* are the mount's own");
  }
  XZFS_RETURN_IF_ERROR(RequireWritable());
  return ChangeByNameOrFd(
      id, [&](int dir, const std::string& name) { return os_.RemoveXattrAt(dir, name, key); },
      [&](int fd) { return os_.FRemoveXattr(fd, key); });
}

}  // namespace xzfs
