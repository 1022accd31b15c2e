// What a mount did, over its whole life.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <vector>

#include "base/mutex.h"
#include "base/read_times.h"
#include "base/stats.h"

namespace xzfs {

// A bounded number of samples: when there is no room left, each two neighbours become one, and from
// then on samples are twice as long. No thread of its own takes them: a read looks at the time
// anyway and takes a sample that is due. While nobody reads there is nothing to record, so there
// may be gaps. Thread-safe.
class History {
 public:
  using Clock = std::chrono::steady_clock;

  static constexpr size_t kMostSamples = 240;
  static constexpr std::chrono::seconds kFirstInterval{1};

  struct Figures {
    uint64_t hits = 0;
    uint64_t misses = 0;
    uint64_t served_bytes = 0;
    uint64_t decoded_bytes = 0;
    ReadTimes::Counts reads = {};
  };
  struct Sample {
    Clock::time_point begin;
    Clock::time_point end;
    Figures figures;  // what came in that time
  };

  // Both outlive it.
  History(const Stats& stats, const ReadTimes& times, Clock::time_point now)
      : stats_(stats), times_(times), begin_(now), due_(now + kFirstInterval) {}

  // Called after each read, at the time `now`. Cheap unless a sample is due.
  void Note(Clock::time_point now) EXCLUDES(mutex_) {
    if (now >= due_.load(std::memory_order_relaxed)) {
      Take(now);
    }
  }

  // Oldest first; the last one ends now.
  std::vector<Sample> Samples(Clock::time_point now) EXCLUDES(mutex_);

 private:
  void Take(Clock::time_point now) EXCLUDES(mutex_);
  Sample Next(Clock::time_point now) REQUIRES(mutex_);
  Figures Totals() const;

  const Stats& stats_;
  const ReadTimes& times_;
  Mutex mutex_;
  std::vector<Sample> samples_ GUARDED_BY(mutex_);
  Clock::duration interval_ GUARDED_BY(mutex_) = kFirstInterval;
  Clock::time_point begin_ GUARDED_BY(mutex_);  // of the sample that is being counted
  Figures before_ GUARDED_BY(mutex_);           // the totals then
  std::atomic<Clock::time_point> due_;          // changed under mutex_
};

}  // namespace xzfs
