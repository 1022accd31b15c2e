#include "cache/decode_slots.h"

namespace xzfs {

void DecodeSlots::Acquire(Priority priority) {
  MutexLock lock(mutex_);
  if (priority == Priority::kReader) {
    ++readers_waiting_;
    while (free_ == 0) {
      readers_.Wait(mutex_);
    }
    --readers_waiting_;
  } else {
    while (free_ == 0 || readers_waiting_ != 0) {
      ahead_.Wait(mutex_);
    }
  }
  --free_;
  // One wake-up reaches one thread: pass on what this one leaves over.
  if (free_ != 0 && readers_waiting_ == 0) {
    ahead_.NotifyOne();
  }
}

void DecodeSlots::Release() {
  MutexLock lock(mutex_);
  ++free_;
  if (readers_waiting_ != 0) {
    readers_.NotifyOne();
  } else {
    ahead_.NotifyOne();
  }
}

}  // namespace xzfs
