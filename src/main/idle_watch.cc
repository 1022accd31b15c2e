#include "main/idle_watch.h"

#include <algorithm>

namespace xzfs {
namespace {

// After an attempt in vain. An attempt costs an ordinary user a process.
constexpr std::chrono::seconds kShortestPause{1};
constexpr std::chrono::minutes kLongestPause{1};

}  // namespace

std::optional<IdleWatch::Clock::duration> IdleWatch::Look() {
  const Clock::duration idle = calls_.idle();
  if (unmounted_ || idle == Clock::duration::zero()) {
    return std::nullopt;
  }
  const Clock::time_point now = calls_.now();
  const Clock::time_point due = std::max(calls_.last_request() + idle, not_before_);
  if (now < due) {
    return due - now;
  }
  // A program may still write before the unmount. Then the daemon compresses that after it, as
  // after any other unmount.
  if (calls_.is_settled() && calls_.try_unmount()) {
    unmounted_ = true;
    return std::nullopt;
  }
  const Clock::duration pause = std::clamp<Clock::duration>(idle, kShortestPause, kLongestPause);
  not_before_ = now + pause;
  return pause;
}

}  // namespace xzfs
