#include "cache/slice_queue.h"

#include <iterator>
#include <utility>

namespace xzfs {

SliceQueue::SliceQueue(WorkerPool& pool, std::shared_ptr<const UnitLoader> loader)
    : pool_(pool), loader_(std::move(loader)) {}

void SliceQueue::Plan(std::vector<UnitRange> ranges, uint64_t generation, uint64_t read_end) {
  MutexLock lock(mutex_);
  if (generation_ != generation) {
    slices_.clear();
    generation_ = generation;
  }
  // No decoder goes back for what the reader has decoded itself: it would hold up the others.
  while (!slices_.empty() && slices_.front().end <= read_end) {
    slices_.pop_front();
  }
  slices_.insert(slices_.end(), std::make_move_iterator(ranges.begin()),
                 std::make_move_iterator(ranges.end()));
}

void SliceQueue::Start(const LoadedIndexPtr& loaded) {
  MutexLock lock(mutex_);
  if (!decoding_ && !slices_.empty()) {
    decoding_ = pool_.TrySubmit([queue = shared_from_this(), loaded] { queue->DecodeAll(loaded); });
  }
}

void SliceQueue::DecodeAll(const LoadedIndexPtr& loaded) {
  while (const std::optional<PlannedSlice> next = Take()) {
    if (!loader_->LoadAhead(loaded, next->range, next->generation)) {
      GiveBack(*next);
      return;
    }
  }
}

// Nothing: the task is at its end.
std::optional<SliceQueue::PlannedSlice> SliceQueue::Take() {
  MutexLock lock(mutex_);
  if (slices_.empty()) {
    decoding_ = false;
    return std::nullopt;
  }
  const PlannedSlice next{slices_.front(), generation_};
  slices_.pop_front();
  return next;
}

// There is no decoder for it now, and the task ends. The reader's next slice starts another.
void SliceQueue::GiveBack(const PlannedSlice& slice) {
  MutexLock lock(mutex_);
  if (generation_ == slice.generation) {
    slices_.push_front(slice.range);
  }
  decoding_ = false;
}

}  // namespace xzfs
