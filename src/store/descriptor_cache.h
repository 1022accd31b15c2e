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
  // Guards the descriptor's file position: seek and getdents of a directory belong together, and an
  // append and where it ended.
  Mutex position;
};
using DescriptorPtr = std::shared_ptr<SharedDescriptor>;

// Keeps the most recently used descriptors open. One that was closed to make room while somebody
// still uses it goes when they are done, so the number of open ones is bounded by the capacity and
// what request threads hold at that moment. Thread-safe.
class DescriptorCache {
 public:
  explicit DescriptorCache(size_t capacity) : capacity_(capacity) {}

  // What is stored of an id may become another file: `content` goes up then, and a descriptor of
  // the old one is not given out any more.

  // The descriptor kept under `id`, or null.
  DescriptorPtr Find(uint64_t id, unsigned content = 0) EXCLUDES(mutex_);
  // Keeps `descriptor` under `id`, unless there is one already of this content or a later one.
  // Returns what is kept of this content, else `descriptor`.
  DescriptorPtr Add(uint64_t id, Descriptor descriptor, unsigned content = 0) EXCLUDES(mutex_);
  // The same of one that is shared already.
  DescriptorPtr Keep(uint64_t id, DescriptorPtr descriptor, unsigned content) EXCLUDES(mutex_);
  void Drop(uint64_t id) EXCLUDES(mutex_);
  // But not the one that is pinned.
  void Close(uint64_t id) EXCLUDES(mutex_);

  // Keeps it until it's dropped, beyond the capacity: of a file without a name there will be no
  // other.
  // `counted` goes with it.
  void Pin(uint64_t id, DescriptorPtr descriptor, std::shared_ptr<const void> counted = nullptr)
      EXCLUDES(mutex_);
  // It has a name again, or is another file now.
  void Unpin(uint64_t id) EXCLUDES(mutex_);
  // The one that was pinned, or null.
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
