// Memory for large buffers that come and go.
#pragma once

#include <atomic>
#include <cstddef>
#include <map>
#include <set>
#include <utility>

#include "base/mutex.h"
#include "base/page_memory.h"

namespace xzfs {

// Hands out buffers from mappings that the system may back by large pages. Freed buffers are used
// again first. At most `keep_bytes` of the free ones stay in physical memory. Thread-safe.
class PagePool {
 public:
  explicit PagePool(size_t keep_bytes) : keep_bytes_(keep_bytes) {}
  // REQUIRES: every buffer was freed.
  ~PagePool();
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  // Gives `bytes` with any content. They take whole pages. Throws std::bad_alloc.
  std::byte* Allocate(size_t bytes) EXCLUDES(mutex_);
  // `bytes`: the size that was asked for.
  void Free(std::byte* buffer, size_t bytes) EXCLUDES(mutex_);

  // The physical memory that waits for the next buffer.
  size_t kept_bytes() const { return kept_bytes_.load(std::memory_order_relaxed); }

 private:
  // Free ranges of pages. No two of them touch. Best fit, the lowest first.
  class FreeRanges {
   public:
    // Null if none is large enough.
    std::byte* Take(size_t bytes);
    void Add(std::byte* at, size_t bytes);

   private:
    void Erase(std::map<std::byte*, size_t>::iterator range);

    std::map<std::byte*, size_t> by_address_;
    std::set<std::pair<size_t, std::byte*>> by_size_;
  };

  const size_t keep_bytes_;
  Mutex mutex_;
  FreeRanges resident_ GUARDED_BY(mutex_);
  std::atomic<size_t> kept_bytes_{0};      // of resident_; changed under mutex_
  FreeRanges dropped_ GUARDED_BY(mutex_);  // no physical memory behind them
  std::map<std::byte*, size_t> mappings_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
