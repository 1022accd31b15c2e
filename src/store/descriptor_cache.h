// A bounded number of open descriptors, however many files are known.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>

#include "base/mutex.h"
#include "base/os.h"

namespace xzfs {

// An open descriptor that several threads use.
struct SharedDescriptor {
  explicit SharedDescriptor(Descriptor d) : descriptor(std::move(d)) {}
  const Descriptor descriptor;
  // Guards the descriptor's file position. A directory's seek and getdents belong together, and so
  // do an append and the look at where it ended.
  Mutex position;
};
using DescriptorPtr = std::shared_ptr<SharedDescriptor>;

// Keeps the most recently used descriptors open. A descriptor that had to make room is closed when
// its last user is done. So the number of open ones is bounded by the capacity and by what request
// threads hold at that moment. Thread-safe.
class DescriptorCache {
 public:
  explicit DescriptorCache(size_t capacity) : capacity_(capacity) {}

  // The file stored for an id may be replaced by another one. Then the caller increments `content`,
  // and a descriptor of the old file is no longer given out.

  // The descriptor kept under `id`, or null.
  DescriptorPtr Find(uint64_t id, unsigned content = 0) EXCLUDES(mutex_);
  // Keeps `descriptor` under `id`, unless it keeps one of this content or a later one already.
  // Returns the one that it keeps of this content, else `descriptor`.
  DescriptorPtr Add(uint64_t id, Descriptor descriptor, unsigned content = 0) EXCLUDES(mutex_);
  // The same for a descriptor that is shared already.
  DescriptorPtr Keep(uint64_t id, DescriptorPtr descriptor, unsigned content) EXCLUDES(mutex_);
  void Drop(uint64_t id) EXCLUDES(mutex_);
  // Like Drop, but leaves a pinned descriptor.
  void Close(uint64_t id) EXCLUDES(mutex_);

  // Keeps it until Drop, beyond the capacity: a file without a name can't be opened again.
  // `counted` is released together with it.
  void Pin(uint64_t id, DescriptorPtr descriptor, std::shared_ptr<const void> counted = nullptr)
      EXCLUDES(mutex_);
  // The file has a name again, or another one took its place.
  void Unpin(uint64_t id) EXCLUDES(mutex_);
  // The pinned descriptor, or null.
  DescriptorPtr FindPinned(uint64_t id) EXCLUDES(mutex_);

  size_t size() EXCLUDES(mutex_);
  size_t capacity() const { return capacity_; }

 private:
  struct Entry {
    uint64_t id;
    unsigned content;
    DescriptorPtr descriptor;
  };

  const size_t capacity_;
  Mutex mutex_;
  std::list<Entry> entries_ GUARDED_BY(mutex_);  // most recently used first
  std::unordered_map<uint64_t, std::list<Entry>::iterator> by_id_ GUARDED_BY(mutex_);
  struct Pinned {
    DescriptorPtr descriptor;
    std::shared_ptr<const void> counted;
  };
  std::unordered_map<uint64_t, Pinned> pinned_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
