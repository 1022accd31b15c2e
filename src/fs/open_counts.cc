#include "fs/open_counts.h"

#include <utility>

namespace xzfs {

bool OpenCounts::Add(NodeId id, const Identity& identity) {
  bool is_unchanged = false;
  {
    MutexLock lock(mutex_);
    Count& count = counts_[id];
    ++count.handles;
    is_unchanged = std::exchange(count.identity, identity) == identity;
  }
  if (nodes_.Find(id) == nullptr) {
    Forget(id);  // the node is gone already, so no other thread will do it
    return false;
  }
  return is_unchanged;
}

bool OpenCounts::Remove(NodeId id) {
  MutexLock lock(mutex_);
  const auto it = counts_.find(id);
  if (it == counts_.end() || it->second.handles == 0) {
    return true;
  }
  return --it->second.handles == 0;
}

bool OpenCounts::IsOpen(NodeId id) {
  MutexLock lock(mutex_);
  const auto it = counts_.find(id);
  return it != counts_.end() && it->second.handles != 0;
}

void OpenCounts::Forget(NodeId id) {
  MutexLock lock(mutex_);
  counts_.erase(id);
}

}  // namespace xzfs
