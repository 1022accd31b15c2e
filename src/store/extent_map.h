// A set of offsets.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>

namespace xzfs {

// A set of offsets, as half-open ranges that neither touch nor overlap. Not thread-safe.
class ExtentMap {
 public:
  void Add(uint64_t begin, uint64_t end) {
    if (begin >= end) {
      return;
    }
    auto next = ends_.upper_bound(begin);
    if (next != ends_.begin() && std::prev(next)->second >= begin) {
      next = std::prev(next);
      begin = next->first;
    }
    while (next != ends_.end() && next->first <= end) {
      end = std::max(end, next->second);
      next = ends_.erase(next);
    }
    ends_.emplace_hint(next, begin, end);
  }

  // Removes all offsets from `begin` on.
  void CutAt(uint64_t begin) {
    ends_.erase(ends_.lower_bound(begin), ends_.end());
    if (!ends_.empty() && std::prev(ends_.end())->second > begin) {
      std::prev(ends_.end())->second = begin;
    }
  }

  bool Covers(uint64_t begin, uint64_t end) const {
    const auto next = ends_.upper_bound(begin);
    return begin >= end || (next != ends_.begin() && std::prev(next)->second >= end);
  }

  bool Touches(uint64_t begin, uint64_t end) const {
    const auto next = ends_.lower_bound(end);  // the first range that begins behind
    return begin < end && next != ends_.begin() && std::prev(next)->second > begin;
  }

  // The end of the run of offsets that begins at `at` and is all in the set, or all outside it; at
  // most `limit`.
  uint64_t RunEnd(uint64_t at, uint64_t limit) const {
    const auto next = ends_.upper_bound(at);
    if (next != ends_.begin() && std::prev(next)->second > at) {
      return std::min(limit, std::prev(next)->second);
    }
    return next == ends_.end() ? limit : std::min(limit, next->first);
  }

  size_t size() const { return ends_.size(); }
  auto begin() const { return ends_.begin(); }
  auto end() const { return ends_.end(); }

 private:
  std::map<uint64_t, uint64_t> ends_;  // by begin
};

}  // namespace xzfs
