// Unmounts a mount that nobody uses (option idle).
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <utility>

namespace xzfs {

// Decides when. The caller calls Look, waits as long as that says, and calls it again. Not
// thread-safe.
class IdleWatch {
 public:
  using Clock = std::chrono::steady_clock;

  struct Calls {
    std::function<Clock::time_point()> now;
    // The option: how long without use. 0: never.
    std::function<Clock::duration()> idle;
    std::function<Clock::time_point()> last_request;
    // Nothing waits to be compressed.
    std::function<bool()> is_settled;
    // Unmounts, unless a program uses the mount. Returns whether it is unmounted.
    std::function<bool()> try_unmount;
  };

  explicit IdleWatch(Calls calls) : calls_(std::move(calls)) {}

  // Unmounts if it is time. Returns in how long to look again; nothing if that makes no sense,
  // because it is unmounted or the option says never.
  std::optional<Clock::duration> Look();

 private:
  const Calls calls_;
  bool unmounted_ = false;
  Clock::time_point not_before_;  // when to try again
};

}  // namespace xzfs
