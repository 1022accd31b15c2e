#include "cache/readahead.h"

#include <algorithm>

namespace xzfs {
namespace {

// The kernel sends a large read, and its own readahead behind it, as many requests of 128 KiB at
// once, and request threads take them up in any order.
constexpr uint64_t kNearBytes = 2 * 1024 * 1024;
// This many requests can be in flight between two that belong together.
constexpr size_t kRecentRequests = 32;
// Reads that touch none of those before them, although they are near: a pass has ended.
constexpr unsigned kMostStrays = 8;

constexpr unsigned kFirstWindow = 2;
constexpr unsigned kLargestWindow = 8;

}  // namespace

bool Readahead::Observe(uint64_t offset, uint64_t end) {
  const bool near_expected = offset <= expected_ + kNearBytes && offset + kNearBytes >= expected_;
  const Neighbour neighbour = Remember(offset, end);
  strays_ = neighbour == Neighbour::kNone ? strays_ + 1 : 0;
  if (!near_expected || strays_ > kMostStrays) {
    Jump(offset, end);
    return false;
  }
  if (neighbour == Neighbour::kBefore) {
    ++streak_;
  }
  expected_ = std::max(expected_, end);
  next_offset_ = std::max(next_offset_, expected_);
  bool arrived = false;
  while (!planned_.empty() && planned_.front() < expected_) {
    planned_.pop_front();
    arrived = true;
  }
  if (streak_ == 0) {
    return false;
  }
  if (window_ == 0) {
    window_ = kFirstWindow;
  } else if (arrived) {
    window_ = std::min(window_ * 2, kLargestWindow);
  }
  return true;
}

// Notes the read and tells whether one of the last ones touches it.
Readahead::Neighbour Readahead::Remember(uint64_t offset, uint64_t end) {
  Neighbour neighbour = Neighbour::kNone;
  for (const Range& range : recent_) {
    if (range.end == offset) {
      neighbour = Neighbour::kBefore;
      break;
    }
    if (range.offset == end) {
      neighbour = Neighbour::kAfter;
    }
  }
  recent_.push_back({offset, end});
  if (recent_.size() > kRecentRequests) {
    recent_.pop_front();
  }
  return neighbour;
}

bool Readahead::Enter(uint64_t begin, uint64_t end) {
  if (begin < entered_end_) {
    return false;
  }
  entered_end_ = end;
  return true;
}

unsigned Readahead::Wanted() const {
  const auto planned = static_cast<unsigned>(planned_.size());
  return window_ > planned ? window_ - planned : 0;
}

void Readahead::Planned(uint64_t offset, uint64_t end) {
  if (offset >= expected_) {
    planned_.push_back(offset);
  }
  next_offset_ = end;
}

void Readahead::Jump(uint64_t offset, uint64_t end) {
  expected_ = end;
  next_offset_ = end;
  entered_end_ = 0;
  ++generation_;
  streak_ = 0;
  strays_ = 0;
  recent_.assign(1, {offset, end});
  window_ = 0;
  planned_.clear();
}

}  // namespace xzfs
