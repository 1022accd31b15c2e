#include "cache/readahead.h"

#include <algorithm>

namespace xzfs {
namespace {

// The kernel keeps two 128 KiB requests of a sequential reader in flight, and a third may start.
constexpr uint64_t kOutOfOrderBytes = 3 * 128 * 1024;
constexpr unsigned kFirstWindow = 2;
constexpr unsigned kLargestWindow = 8;

}  // namespace

bool Readahead::Observe(uint64_t offset, uint64_t end) {
  const bool near_expected =
      offset <= expected_ + kOutOfOrderBytes && offset + kOutOfOrderBytes >= expected_;
  if (!near_expected) {
    Jump(end);
    return false;
  }
  if (end > expected_) {
    expected_ = end;
    ++streak_;
  }
  next_offset_ = std::max(next_offset_, expected_);
  bool arrived = false;
  while (!planned_.empty() && planned_.front() < expected_) {
    planned_.pop_front();
    arrived = true;
  }
  if (streak_ >= 2 && window_ == 0) {
    window_ = kFirstWindow;
  } else if (arrived) {
    window_ = std::min(window_ * 2, kLargestWindow);
  }
  return streak_ >= 2;
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

void Readahead::Jump(uint64_t end) {
  expected_ = end;
  next_offset_ = end;
  entered_end_ = 0;
  ++generation_;
  streak_ = 1;
  window_ = 0;
  planned_.clear();
}

}  // namespace xzfs
