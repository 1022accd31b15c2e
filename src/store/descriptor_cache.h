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
  // Guards the descriptor's file position: seek and getdents of a directory belong together.
  Mutex position;
};
using DescriptorPtr = std::shared_ptr<SharedDescriptor>;

// Keeps the most recently used descriptors open. One that was closed to make room while somebody
// still uses it goes when they are done, so the number of open ones is bounded by the capacity and
// what request threads hold at that moment. Thread-safe.
class DescriptorCache {
 public:
  explicit DescriptorCache(size_t capacity) : capacity_(capacity) {}

  // The descriptor kept under `id`, or null.
  DescriptorPtr Find(uint64_t id) EXCLUDES(mutex_);
  // Keeps `descriptor` under `id`, unless there is one already; returns the one that is kept.
  DescriptorPtr Add(uint64_t id, Descriptor descriptor) EXCLUDES(mutex_);
  void Drop(uint64_t id) EXCLUDES(mutex_);

  size_t size() EXCLUDES(mutex_);
  size_t capacity() const { return capacity_; }

 private:
  struct Entry {
    uint64_t id;
    DescriptorPtr descriptor;
  };

  const size_t capacity_;
  Mutex mutex_;
  std::list<Entry> entries_ GUARDED_BY(mutex_);  // most recently used first
  std::unordered_map<uint64_t, std::list<Entry>::iterator> by_id_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
