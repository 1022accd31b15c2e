// Overlays whose base is not where it was seen last: of a zone that was met while the mount runs.
// Whoever looks the base up gets it with its overlay, wherever it is; a search in the background
// settles those that nobody looks up.
#include <utility>

#include "base/idle_priority.h"
#include "base/log.h"
#include "fs/filesystem.h"

namespace xzfs {

void Filesystem::AddOrphans(const ZonePtr& zone, std::vector<Orphan> orphans) {
  if (orphans.empty()) {
    return;
  }
  {
    MutexLock lock(edited_mutex_);
    for (Orphan& orphan : orphans) {
      const FileId file{zone->device, orphan.overlay->base().inode};
      orphans_.emplace(file, std::move(orphan));
    }
    has_orphans_ = true;
  }
  DescriptorPtr top;
  {
    MutexLock lock(zone->mutex);
    top = zone->directory;
  }
  MutexLock lock(zones_mutex_);
  if (!searches_end_) {
    searches_.emplace_back([this, zone, top] {
      UseLowPriority();
      SearchZone(zone, top);
    });
  }
}

std::vector<Orphan> Filesystem::OrphansOf(const ZonePtr& zone) {
  std::vector<Orphan> found;
  MutexLock lock(edited_mutex_);
  for (const auto& [file, orphan] : orphans_) {
    if (orphan.zone == zone) {
      found.push_back(orphan);
    }
  }
  return found;
}

// False if somebody else has just taken it.
bool Filesystem::TakeOrphan(const Orphan& orphan) {
  MutexLock lock(edited_mutex_);
  const size_t taken = std::erase_if(
      orphans_, [&](const auto& entry) { return entry.second.overlay == orphan.overlay; });
  has_orphans_ = !orphans_.empty();
  return taken != 0;
}

// Gives the node that was just looked up its overlay, if one waits for it. Of several threads that
// look it up each has it with its overlay: who doesn't find it waiting finds it in the state.
NodePtr Filesystem::AttachOrphan(const NodePtr& node) {
  const Identity& identity = node->identity;
  std::vector<Orphan> waiting;
  {
    MutexLock lock(edited_mutex_);
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
  const auto stated = WithState(node->id);
  if (!stated) {
    return node;
  }
  FileState& state = *(*stated)->state;
  MutexLock lock(state.mutex);
  for (const Orphan& orphan : waiting) {
    if (state.overlay != nullptr) {
      break;  // what is left the search looks at
    }
    nodes_.Pin(node->id);
    AttachOverlay(**stated, state, orphan.overlay, orphan.session, orphan.zone);
    state.changed = true;
    state.may_differ = true;
    if (const auto path = nodes_.PathBelow(node->id, orphan.zone->top)) {
      static_cast<void>(orphan.overlay->NotePath(*path));
    }
    TakeOrphan(orphan);
    committer_.Add(node->id, orphan.overlay->size());
  }
  return *stated;
}

void Filesystem::EndSearches() {
  std::vector<std::thread> searches;
  {
    MutexLock lock(zones_mutex_);
    searches_end_ = true;
    searches.swap(searches_);
  }
  for (std::thread& search : searches) {
    search.join();
  }
}

}  // namespace xzfs
