// How many threads do one thing at the same time.
#pragma once

#include "base/mutex.h"

namespace xzfs {

// Hands out as many turns as threads may work at once; who has high priority goes first. A turn is
// held for one step of work, with the reads that this needs, and never while waiting for another
// thread: so one long work can't keep the others out. Thread-safe.
class Turns {
 public:
  enum class Priority { kHigh, kLow };

  explicit Turns(unsigned count) : free_(count) {}

  // Holds a turn while it lives. Blocks until there is one.
  class Hold {
   public:
    Hold(Turns& turns, Priority priority) : turns_(turns) { turns_.Acquire(priority); }
    ~Hold() { turns_.Release(); }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    Turns& turns_;
  };

 private:
  void Acquire(Priority priority) EXCLUDES(mutex_);
  void Release() EXCLUDES(mutex_);

  Mutex mutex_;
  CondVar high_;  // a turn is free and somebody with high priority waits
  CondVar low_;   // a turn is free and nobody with high priority waits
  unsigned free_ GUARDED_BY(mutex_);
  unsigned high_waiting_ GUARDED_BY(mutex_) = 0;
};

}  // namespace xzfs
