// How many Blocks are decoded at the same time.
#pragma once

#include "base/mutex.h"

namespace xzfs {

// Hands out as many slots as threads may decode at once; readers go before decode-ahead. A slot is
// held for one Block or one slice with the reads that this needs, never while waiting for another
// thread, so that one long decode can't keep the others out. Thread-safe.
class DecodeSlots {
 public:
  enum class Priority { kReader, kAhead };

  explicit DecodeSlots(unsigned count) : free_(count) {}

  // Holds a slot while it lives. Blocks until there is one.
  class Hold {
   public:
    Hold(DecodeSlots& slots, Priority priority) : slots_(slots) { slots_.Acquire(priority); }
    ~Hold() { slots_.Release(); }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    DecodeSlots& slots_;
  };

  // A reader is waiting for a slot right now.
  bool HasWaitingReaderForTest() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return readers_waiting_ != 0;
  }

 private:
  void Acquire(Priority priority) EXCLUDES(mutex_);
  void Release() EXCLUDES(mutex_);

  Mutex mutex_;
  CondVar readers_;  // a slot is free and a reader waits
  CondVar ahead_;    // a slot is free and no reader waits
  unsigned free_ GUARDED_BY(mutex_);
  unsigned readers_waiting_ GUARDED_BY(mutex_) = 0;
};

}  // namespace xzfs
