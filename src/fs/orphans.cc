#include "fs/orphans.h"

#include <utility>

#include "fs/committer.h"
#include "fs/edited_files.h"
#include "fs/file_state.h"
#include "store/overlay.h"
#include "store/overlay_content.h"

namespace xzfs {

void Orphans::Add(std::vector<Orphan> orphans) {
  MutexLock lock(mutex_);
  for (Orphan& orphan : orphans) {
    const FileId file{orphan.zone->device, orphan.overlay->base().inode};
    orphans_.emplace(file, std::move(orphan));
  }
  has_orphans_ = !orphans_.empty();
}

std::vector<Orphan> Orphans::Of(const ZonePtr& zone) {
  std::vector<Orphan> found;
  MutexLock lock(mutex_);
  for (const auto& [file, orphan] : orphans_) {
    if (orphan.zone == zone) {
      found.push_back(orphan);
    }
  }
  return found;
}

bool Orphans::Take(const Orphan& orphan) {
  MutexLock lock(mutex_);
  const size_t taken = std::erase_if(
      orphans_, [&](const auto& entry) { return entry.second.overlay == orphan.overlay; });
  has_orphans_ = !orphans_.empty();
  return taken != 0;
}

NodePtr Orphans::Attach(const NodePtr& node) {
  const Identity& identity = node->identity;
  std::vector<Orphan> waiting;
  {
    MutexLock lock(mutex_);
    const auto [begin, end] = orphans_.equal_range(FileId::Of(identity));
    for (auto it = begin; it != end; ++it) {
      const OverlayBase base = it->second.overlay->base();
      if (base.size_bytes == identity.size_bytes && base.mtime_ns == identity.mtime_ns) {
        waiting.push_back(it->second);
      }
    }
  }
  if (waiting.empty()) {
    return node;
  }
  const auto stated = tree_.WithState(node->id);
  if (!stated) {
    return node;
  }
  FileState& state = *(*stated)->state;
  FileLock lock(state);
  for (const Orphan& orphan : waiting) {
    if (state.overlay() != nullptr) {
      break;  // the search settles the others
    }
    nodes_.Pin(node->id);
    edited_.Attach(**stated, state, orphan.overlay, orphan.session, orphan.zone);
    state.NoteChange();
    if (const auto path = nodes_.PathBelow(node->id, orphan.zone->top)) {
      static_cast<void>(orphan.overlay->NotePath(*path));
    }
    Take(orphan);
    committer_.Add(node->id, orphan.overlay->size());
  }
  return *stated;
}

}  // namespace xzfs
