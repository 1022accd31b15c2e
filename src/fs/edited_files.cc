#include "fs/edited_files.h"

#include <cerrno>
#include <utility>

#include "base/fail.h"
#include "base/log.h"
#include "store/overlay.h"

namespace xzfs {

void EditedFiles::Attach(const Node& node, FileState& state, std::shared_ptr<Overlay> overlay,
                         std::shared_ptr<Session> session, ZonePtr zone) {
  const FileId file = FileId::Of(node.identity);
  {
    MutexLock lock(mutex_);
    edited_.insert_or_assign(file, node.id);
  }
  state.BecomeEdited({.overlay = std::move(overlay),
                      .file = file,
                      .session = std::move(session),
                      .zone = std::move(zone),
                      .holds_node = true});
}

void EditedFiles::Drop(NodeId id, FileState& state) {
  if (state.overlay() != nullptr) {
    if (const Status removed = state.overlay()->Remove(); !removed) {
      Log(LogLevel::kWarning, removed.error().message);
    }
    Detach(id, state);
  }
}

void EditedFiles::Detach(NodeId id, FileState& state) {
  const FileState::Edit edit = state.DetachOverlay();
  if (edit.overlay != nullptr) {
    Forget(id, edit.file);
    tree_.Forget(id, edit.holds_node ? 1 : 0);
  }
}

void EditedFiles::Release(NodeId id, FileState& state) {
  if (state.overlay() != nullptr && state.ReleaseNode()) {
    Forget(id, state.edit().file);
    tree_.Forget(id, 1);
  }
}

void EditedFiles::Forget(NodeId id, const FileId& file) {
  MutexLock lock(mutex_);
  const auto it = edited_.find(file);
  if (it != edited_.end() && it->second == id) {
    edited_.erase(it);
  }
}

NodePtr EditedFiles::Find(const Identity& identity) {
  NodeId id = 0;
  {
    MutexLock lock(mutex_);
    const auto it = edited_.find(FileId::Of(identity));
    id = it == edited_.end() ? 0 : it->second;
  }
  const NodePtr node = id == 0 ? nullptr : nodes_.Find(id);
  if (node == nullptr || node->kind != StoredKind::kCompressed) {
    return nullptr;
  }
  return identity.HasContentOf(node->identity) ? node : nullptr;
}

bool EditedFiles::HasAny() {
  MutexLock lock(mutex_);
  return !edited_.empty();
}

std::vector<NodeId> EditedFiles::All() {
  std::vector<NodeId> ids;
  MutexLock lock(mutex_);
  for (const auto& [file, id] : edited_) {
    ids.push_back(id);
  }
  return ids;
}

void EditedFiles::NoteHalfOverwritten(const FileId& file) {
  MutexLock lock(mutex_);
  half_overwritten_.insert(file);
  has_half_overwritten_ = true;
}

bool EditedFiles::IsHalfOverwritten(const FileId& file) {
  if (!has_half_overwritten_) {
    return false;
  }
  MutexLock lock(mutex_);
  return half_overwritten_.contains(file);
}

Failure<> EditedFiles::FailHalfOverwritten(const std::string& path) {
  return Fail(EIO, path +
                       ": its commit failed while it was being overwritten; mount the source "
                       "again to complete it");
}

}  // namespace xzfs
