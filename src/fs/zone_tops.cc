#include "fs/zone_tops.h"

#include <utility>
#include <vector>

#include "fs/node_table.h"

namespace xzfs {

ZonePtr ZoneTops::SetZone(NodeId id, ZonePtr zone) {
  ZonePtr set;
  {
    MutexLock lock(mutex_);
    set = zones_.try_emplace(id, std::move(zone)).first->second;
  }
  if (nodes_.Find(id) == nullptr) {
    Forget(id);  // the node is gone already, so no other thread will do it
    return nullptr;
  }
  return set;
}

void ZoneTops::DropZone(NodeId id) {
  MutexLock lock(mutex_);
  zones_.erase(id);
}

ZonePtr ZoneTops::ZoneOf(NodeId id, std::string* path) {
  const std::vector<NodeTable::Step> way = nodes_.WayUp(id);
  MutexLock lock(mutex_);
  for (auto step = way.begin(); step != way.end(); ++step) {
    if (const auto found = zones_.find(step->id); found != zones_.end()) {
      if (path != nullptr) {
        *path = PathOf({way.begin(), step});
      }
      return found->second;
    }
  }
  return nullptr;
}

ZonePtr ZoneTops::ZoneAt(NodeId id) {
  MutexLock lock(mutex_);
  const auto it = zones_.find(id);
  return it == zones_.end() ? nullptr : it->second;
}

bool ZoneTops::WasLookedAt(NodeId id, int64_t since_ns) {
  {
    MutexLock lock(mutex_);
    if (const auto it = looks_ns_.find(id); it != looks_ns_.end()) {
      return it->second >= since_ns;
    }
  }
  return nodes_.Find(id) == nullptr;
}

void ZoneTops::NoteLook(NodeId id, int64_t now_ns) {
  {
    MutexLock lock(mutex_);
    looks_ns_[id] = now_ns;
  }
  if (nodes_.Find(id) == nullptr) {
    Forget(id);  // the node is gone already, so no other thread will do it
  }
}

void ZoneTops::Forget(NodeId id) {
  ZonePtr zone;  // freed after the lock is released: what it holds may cost I/O
  MutexLock lock(mutex_);
  if (const auto it = zones_.find(id); it != zones_.end()) {
    zone = std::move(it->second);
    zones_.erase(it);
  }
  looks_ns_.erase(id);
}

}  // namespace xzfs
