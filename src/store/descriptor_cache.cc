#include "store/descriptor_cache.h"

#include <iterator>
#include <utility>

namespace xzfs {

DescriptorPtr DescriptorCache::Find(uint64_t id, unsigned content) {
  MutexLock lock(mutex_);
  if (const auto pinned = pinned_.find(id); pinned != pinned_.end()) {
    return pinned->second.descriptor;
  }
  const auto it = by_id_.find(id);
  if (it == by_id_.end() || it->second->content != content) {
    return nullptr;
  }
  entries_.splice(entries_.begin(), entries_, it->second);
  return it->second->descriptor;
}

DescriptorPtr DescriptorCache::Add(uint64_t id, Descriptor descriptor, unsigned content) {
  return Keep(id, std::make_shared<SharedDescriptor>(std::move(descriptor)), content);
}

DescriptorPtr DescriptorCache::Keep(uint64_t id, DescriptorPtr added, unsigned content) {
  std::list<Entry> dropped;  // closed after the lock is released
  MutexLock lock(mutex_);
  if (const auto it = by_id_.find(id); it != by_id_.end()) {
    if (it->second->content >= content) {  // another thread was faster
      return it->second->content == content ? it->second->descriptor : added;
    }
    dropped.splice(dropped.end(), entries_, it->second);
    by_id_.erase(it);
  }
  entries_.push_front(Entry{id, content, added});
  by_id_.emplace(id, entries_.begin());
  if (entries_.size() > capacity_) {
    const auto oldest = std::prev(entries_.end());
    by_id_.erase(oldest->id);
    dropped.splice(dropped.end(), entries_, oldest);
  }
  return added;
}

void DescriptorCache::Close(uint64_t id) {
  std::list<Entry> dropped;  // closed after the lock is released
  MutexLock lock(mutex_);
  if (const auto it = by_id_.find(id); it != by_id_.end()) {
    dropped.splice(dropped.end(), entries_, it->second);
    by_id_.erase(it);
  }
}

void DescriptorCache::Drop(uint64_t id) {
  Unpin(id);
  Close(id);
}

void DescriptorCache::Pin(uint64_t id, DescriptorPtr descriptor,
                          std::shared_ptr<const void> counted) {
  MutexLock lock(mutex_);
  pinned_.try_emplace(id, Pinned{std::move(descriptor), std::move(counted)});
}

void DescriptorCache::Unpin(uint64_t id) {
  Pinned unpinned;  // closed after the lock is released
  MutexLock lock(mutex_);
  if (auto pinned = pinned_.extract(id)) {
    unpinned = std::move(pinned.mapped());
  }
}

DescriptorPtr DescriptorCache::FindPinned(uint64_t id) {
  MutexLock lock(mutex_);
  const auto it = pinned_.find(id);
  return it == pinned_.end() ? nullptr : it->second.descriptor;
}

size_t DescriptorCache::size() {
  MutexLock lock(mutex_);
  return entries_.size();
}

}  // namespace xzfs
