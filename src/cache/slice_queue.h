// The slices of giant Blocks that are to be decoded ahead of one reader.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "base/mutex.h"
#include "base/worker_pool.h"
#include "cache/loaded_index.h"
#include "cache/unit_loader.h"
#include "cache/unit_range.h"

namespace xzfs {

// Slices come out of one decoder in their order, so one task at a time decodes the planned ones. It
// ends when a run of another reader has that decoder, and begins again after the next run of this
// one, or when more is planned. Thread-safe. The task holds the queue: it may outlive its reader.
class SliceQueue : public std::enable_shared_from_this<SliceQueue> {
 public:
  // `pool` runs the task, and outlives the queue.
  SliceQueue(WorkerPool& pool, std::shared_ptr<const UnitLoader> loader);

  // Adds slices, and drops those of another generation. The reader has read up to `read_end`.
  void Plan(std::vector<UnitRange> ranges, uint64_t generation, uint64_t read_end) EXCLUDES(mutex_);
  // Starts the task if it isn't at work and there is something to decode.
  void Start(const LoadedIndexPtr& loaded) EXCLUDES(mutex_);

 private:
  struct PlannedSlice {
    UnitRange range;
    uint64_t generation;
  };

  void DecodeAll(const LoadedIndexPtr& loaded) EXCLUDES(mutex_);
  std::optional<PlannedSlice> Take() EXCLUDES(mutex_);
  void GiveBack(const PlannedSlice& slice) EXCLUDES(mutex_);

  WorkerPool& pool_;
  const std::shared_ptr<const UnitLoader> loader_;
  Mutex mutex_;
  std::deque<UnitRange> slices_ GUARDED_BY(mutex_);
  uint64_t generation_ GUARDED_BY(mutex_) = 0;
  bool decoding_ GUARDED_BY(mutex_) = false;
};

}  // namespace xzfs
