// When a mount was last used.
#pragma once

#include <atomic>
#include <chrono>

namespace xzfs {

// Thread-safe.
class LastRequest {
 public:
  using Clock = std::chrono::steady_clock;

  // There is a request now.
  void Note() { at_.store(Clock::now().time_since_epoch(), std::memory_order_relaxed); }
  // When the last one was noted; when this object was made, if none was.
  Clock::time_point Get() const { return Clock::time_point(at_.load(std::memory_order_relaxed)); }

 private:
  std::atomic<Clock::duration> at_{Clock::now().time_since_epoch()};
};

}  // namespace xzfs
