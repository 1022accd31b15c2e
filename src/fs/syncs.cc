// An fsync of a plain file syncs the stored file. For an edited one it syncs the overlay and the
// folder with its names; on file systems that don't keep the order of changes it syncs the name of
// the base first.
//
// A failed sync is remembered: the kernel has dropped the pages that it could not write, so a later
// sync must not succeed. When all writers have closed the file, a commit writes it again.
#include "fs/syncs.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/stats.h"
#include "base/try.h"
#include "fs/edited_files.h"
#include "fs/file_state.h"
#include "fs/options.h"
#include "store/overlay.h"

namespace xzfs {

Status Syncs::Sync(NodeId id, SyncScope scope) {
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, tree_.FindNode(id));
  return SyncNode(node, scope);
}

Status Syncs::SyncNode(const NodePtr& node, SyncScope scope) {
  if (options_.read_only) {
    return {};
  }
  if (node->state == nullptr) {
    DescriptorPtr open;
    {
      SharedLock names(namespace_);
      XZFS_ASSIGN_OR_RETURN(const NodePtr now, tree_.FindNode(node->id));
      XZFS_ASSIGN_OR_RETURN(open, tree_.OpenNode(now));
    }
    const int fd = open->descriptor.get();
    const int error = os_.SyncAs(scope, fd);
    return error < 0 ? FailErrno(-error, "sync " + nodes_.PathOf(node->id)) : Status();
  }
  XZFS_RETURN_IF_ERROR(SyncName(node));
  FileState& state = *node->state;
  DescriptorPtr plain;
  std::shared_ptr<Overlay> overlay;
  std::shared_ptr<Session> session;
  bool name_is_unsynced = false;
  {
    FileLock lock(state);
    if (state.writers() == 0 && state.overlay() == nullptr) {
      state.MendSync();  // a plain file without writers is as in the source
    }
    if (state.sync_error()) {
      return Failure(*state.sync_error());
    }
    plain = state.plain().file;
    overlay = state.overlay();
    session = state.edit().is_durable ? nullptr : state.edit().session;
    name_is_unsynced = state.name().is_unsynced;
  }
  DescriptorPtr dir;
  if (name_is_unsynced) {
    SharedLock names(namespace_);
    std::string name;
    XZFS_ASSIGN_OR_RETURN(dir, tree_.OpenParent(node, &name));
  }
  Status synced;
  if (overlay != nullptr) {
    // The overlay itself remembers errors that can't be mended.
    const bool failed_before = overlay->has_sync_error();
    if (Status data = overlay->Sync(scope); !data) {
      if (!failed_before && overlay->has_sync_error()) {
        NoteSyncFailed(node, data.error());
      }
      return data;
    }
    if (session != nullptr) {
      const int error = os_.Sync(session->folder());
      synced = error < 0 ? FailErrno(-error, "sync the session's folder") : Status();
    }
    if (synced && dir != nullptr) {  // else the plain file could be back, and hide the base
      const int error = os_.Sync(dir->descriptor.get());
      synced = error < 0 ? FailErrno(-error, "sync " + nodes_.PathOf(node->id)) : Status();
    }
  } else {
    if (plain == nullptr) {
      SharedLock names(namespace_);
      XZFS_ASSIGN_OR_RETURN(const NodePtr now, tree_.FindNode(node->id));
      XZFS_ASSIGN_OR_RETURN(plain, tree_.OpenNode(now));
    }
    const int fd = plain->descriptor.get();
    int error = os_.SyncAs(scope, fd);
    if (error == 0 && dir != nullptr) {
      error = os_.Sync(dir->descriptor.get());
    }
    synced = error < 0 ? FailErrno(-error, "sync " + nodes_.PathOf(node->id)) : Status();
  }
  FileLock lock(state);
  if (!synced) {
    // The kernel drops the pages that it could not write and marks them clean. No commit may use
    // them, and no later sync may succeed.
    state.FailSync(synced.error());
    NoteSyncFailed(node, synced.error());
  } else if (overlay == state.overlay()) {
    state.NoteDurable(true);
  }
  return synced;
}

Status Syncs::SyncDirectory(NodeId id) {
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, tree_.FindNode(id));
  if (node->is_removed) {
    return {};
  }
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr dir, tree_.OpenNode(node));
  if (options_.read_only) {
    return {};
  }
  const int error = os_.Sync(dir->descriptor.get());
  return error < 0 ? FailErrno(-error, "sync the directory " + nodes_.PathOf(id)) : Status();
}

// A synced file must not be on the disk under an older name, nor beside another stored file that
// had its name before. Where the file system does not ensure that, its name is synced first. The
// changes of an edited file and its name are in two stored files. So are a plain file and the
// compressed one that was removed or renamed before the plain file was made.
Status Syncs::SyncName(const NodePtr& node) {
  FileState& state = *node->state;
  uint64_t changes = 0;
  {
    FileLock lock(state);
    const bool is_unordered =
        state.name().changes != state.name().synced_changes && !state.unlinked() &&
        !(state.plain().file != nullptr && os_.KeepsOrder(state.plain().file->descriptor.get())) &&
        !(state.edit().session != nullptr && os_.KeepsOrder(state.edit().session->folder()));
    if (!is_unordered) {
      return {};
    }
    changes = state.name().changes;
  }
  int error = 0;
  DescriptorPtr file;
  {
    SharedLock names(namespace_);
    XZFS_ASSIGN_OR_RETURN(const NodePtr now, tree_.FindNode(node->id));
    std::string name;
    // The base of an edited file may also be in its old directory on the disk.
    auto open =
        now->kind == StoredKind::kCompressed ? tree_.OpenNode(now) : tree_.OpenParent(now, &name);
    error = open ? 0 : -open.error().code;
    file = open ? *open : nullptr;
  }
  if (file != nullptr && !os_.KeepsOrder(file->descriptor.get())) {
    error = os_.Sync(file->descriptor.get());
  }
  // We can't sync a directory that we may not read. A file that another program has moved (ESTALE)
  // still keeps its content.
  if (error < 0 && error != -EACCES && error != -EBADF && error != -ESTALE) {
    return FailErrno(-error, "sync the name of " + nodes_.PathOf(node->id));
  }
  FileLock lock(state);
  state.NoteNameSynced(changes);
  return {};
}

void Syncs::NoteSyncFailed(const NodePtr& node, const Error& error) {
  stats_.syncs_failed.Add();
  Log(LogLevel::kError, nodes_.PathOf(node->id) + ": " + error.message +
                            "; until all programs have closed it, its syncs fail and it stays "
                            "uncompressed; then xzfs writes it again");
}

void Syncs::SyncOverlays() {
  for (const NodeId id : edited_.All()) {
    const NodePtr node = nodes_.Find(id);
    const Status synced = node == nullptr ? Status() : SyncNode(node, SyncScope::kAll);
    if (!synced) {
      Log(LogLevel::kError, synced.error().message);
    }
  }
}

}  // namespace xzfs
