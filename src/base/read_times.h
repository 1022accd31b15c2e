// How long reads took.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/stats.h"

namespace xzfs {

// Counts reads by their time: two buckets an octave from 1 us on, so the times that it gives may be
// wrong by half. Thread-safe; adding costs two relaxed additions.
class ReadTimes {
 public:
  static constexpr size_t kBuckets = 52;  // the last one: 25 s and more
  using Counts = std::array<uint64_t, kBuckets>;

  void Add(uint64_t ns) {
    buckets_[BucketOf(ns)].Add();
    total_ns_.Add(ns);
  }

  Counts counts() const {
    Counts counts = {};
    for (size_t i = 0; i < kBuckets; ++i) {
      counts[i] = buckets_[i].Get();
    }
    return counts;
  }
  uint64_t total_ns() const { return total_ns_.Get(); }

  static size_t BucketOf(uint64_t ns) {
    const uint64_t us = ns / 1000;
    if (us == 0) {
      return 0;
    }
    const auto octave = static_cast<size_t>(std::bit_width(us)) - 1;
    const size_t upper_half = octave == 0 ? 0 : us >> (octave - 1) & 1;
    return std::min(1 + 2 * octave + upper_half, kBuckets - 1);
  }
  // All reads in the bucket took less, except in the last bucket.
  static uint64_t UpperBoundUs(size_t bucket) {
    if (bucket < 2) {
      return bucket + 1;
    }
    const size_t octave = (bucket - 1) / 2;
    const uint64_t begin = uint64_t{1} << octave;
    return (bucket - 1) % 2 == 0 ? begin + begin / 2 : 2 * begin;
  }

  // The time in us that `share` of the reads took less than; 0 without reads.
  static uint64_t QuantileUs(std::span<const uint64_t> counts, double share) {
    uint64_t all = 0;
    for (const uint64_t count : counts) {
      all += count;
    }
    const double enough = static_cast<double>(all) * share;
    uint64_t seen = 0;
    for (size_t i = 0; i < counts.size(); ++i) {
      seen += counts[i];
      if (seen != 0 && static_cast<double>(seen) >= enough) {
        return UpperBoundUs(i);
      }
    }
    return 0;
  }

 private:
  std::array<Counter, kBuckets> buckets_;
  Counter total_ns_;
};

}  // namespace xzfs
