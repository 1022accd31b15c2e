#include "base/history.h"

#include <algorithm>

namespace xzfs {
namespace {

// Calls `combine` with each figure of both.
template <class Combine>
void ForEachFigure(History::Figures& into, const History::Figures& from, Combine combine) {
  combine(into.hits, from.hits);
  combine(into.misses, from.misses);
  combine(into.served_bytes, from.served_bytes);
  combine(into.decoded_bytes, from.decoded_bytes);
  for (size_t i = 0; i < into.reads.size(); ++i) {
    combine(into.reads[i], from.reads[i]);
  }
}

}  // namespace

History::Figures History::Totals() const {
  return {.hits = stats_.cache_hits.Get(),
          .misses = stats_.cache_misses.Get(),
          .served_bytes = stats_.served_bytes.Get(),
          .decoded_bytes = stats_.decoded_bytes.Get(),
          .reads = times_.counts()};
}

History::Sample History::Next(Clock::time_point now) {
  // If there had been a read between the due time and now, it would have taken the sample then.
  const Clock::time_point end = std::min(now, begin_ + 2 * interval_);
  Sample sample{.begin = begin_, .end = end, .figures = Totals()};
  ForEachFigure(sample.figures, before_, [](uint64_t& a, uint64_t b) { a -= b; });
  return sample;
}

void History::Take(Clock::time_point now) {
  MutexLock lock(mutex_);
  if (now < due_.load(std::memory_order_relaxed)) {
    return;  // another reader was faster
  }
  if (samples_.size() == kMostSamples) {
    for (size_t i = 0; i < kMostSamples / 2; ++i) {
      Sample& first = samples_[2 * i];
      const Sample& second = samples_[2 * i + 1];
      first.end = second.end;
      ForEachFigure(first.figures, second.figures, [](uint64_t& a, uint64_t b) { a += b; });
      samples_[i] = first;
    }
    samples_.resize(kMostSamples / 2);
    interval_ *= 2;
  }
  samples_.push_back(Next(now));
  ForEachFigure(before_, samples_.back().figures, [](uint64_t& a, uint64_t b) { a += b; });
  begin_ = now;
  due_.store(now + interval_, std::memory_order_relaxed);
}

std::vector<History::Sample> History::Samples(Clock::time_point now) {
  MutexLock lock(mutex_);
  std::vector<Sample> samples = samples_;
  samples.push_back(Next(std::max(now, begin_)));
  return samples;
}

}  // namespace xzfs
