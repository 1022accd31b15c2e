// Requests that may take long: a bounded number of threads works on them.
#pragma once

#include <deque>
#include <functional>
#include <utility>

#include "base/mutex.h"

namespace xzfs {

// Thread-safe.
class SlowRequests {
 public:
  // `most`: the most request threads that work on them.
  explicit SlowRequests(unsigned most) : most_(most) {}

  // Calls `work`, and then the work that others have left here. If enough threads do that already
  // it leaves `work` to them. `work` doesn't throw.
  void Run(std::function<void()> work) EXCLUDES(mutex_) {
    {
      MutexLock lock(mutex_);
      if (running_ == most_) {
        waiting_.push_back(std::move(work));
        return;
      }
      ++running_;
    }
    for (;;) {
      work();
      MutexLock lock(mutex_);
      if (waiting_.empty()) {
        --running_;
        return;
      }
      work = std::move(waiting_.front());
      waiting_.pop_front();
    }
  }

 private:
  const unsigned most_;
  Mutex mutex_;
  unsigned running_ GUARDED_BY(mutex_) = 0;
  std::deque<std::function<void()>> waiting_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
