#include "store/descriptor_cache.h"

#include <iterator>
#include <utility>

namespace xzfs {

DescriptorPtr DescriptorCache::Find(uint64_t id) {
  MutexLock lock(mutex_);
  const auto it = by_id_.find(id);
  if (it == by_id_.end()) {
    return nullptr;
  }
  entries_.splice(entries_.begin(), entries_, it->second);
  return it->second->descriptor;
}

DescriptorPtr DescriptorCache::Add(uint64_t id, Descriptor descriptor) {
  auto added = std::make_shared<SharedDescriptor>(std::move(descriptor));
  std::list<Entry> dropped;  // closed after the lock is released
  MutexLock lock(mutex_);
  if (const auto it = by_id_.find(id); it != by_id_.end()) {
    return it->second->descriptor;  // somebody else was faster
  }
  entries_.push_front(Entry{id, added});
  by_id_.emplace(id, entries_.begin());
  if (entries_.size() > capacity_) {
    const auto oldest = std::prev(entries_.end());
    by_id_.erase(oldest->id);
    dropped.splice(dropped.end(), entries_, oldest);
  }
  return added;
}

void DescriptorCache::Drop(uint64_t id) {
  std::list<Entry> dropped;
  MutexLock lock(mutex_);
  if (const auto it = by_id_.find(id); it != by_id_.end()) {
    dropped.splice(dropped.end(), entries_, it->second);
    by_id_.erase(it);
  }
}

size_t DescriptorCache::size() {
  MutexLock lock(mutex_);
  return entries_.size();
}

}  // namespace xzfs
