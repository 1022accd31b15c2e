#include "base/turns.h"

namespace xzfs {

void Turns::Acquire(Priority priority) {
  MutexLock lock(mutex_);
  if (priority == Priority::kHigh) {
    ++high_waiting_;
    while (free_ == 0) {
      high_.Wait(mutex_);
    }
    --high_waiting_;
  } else {
    while (free_ == 0 || high_waiting_ != 0) {
      low_.Wait(mutex_);
    }
  }
  --free_;
  // A wake-up reaches one thread: if more turns are free, wake the next one.
  if (free_ != 0 && high_waiting_ == 0) {
    low_.NotifyOne();
  }
}

void Turns::Release() {
  MutexLock lock(mutex_);
  ++free_;
  if (high_waiting_ != 0) {
    high_.NotifyOne();
  } else {
    low_.NotifyOne();
  }
}

}  // namespace xzfs
