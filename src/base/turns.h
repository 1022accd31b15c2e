// Limits how many threads do one thing at the same time.
#pragma once

#include "base/mutex.h"

namespace xzfs {

// Hands out as many turns as threads may work at once. Threads of high priority get one first. A
// thread holds a turn for one step of work, with the reads that this needs, and never while it
// waits for another thread: so a long piece of work can't keep the others out. Thread-safe.
class Turns {
 public:
  enum class Priority { kHigh, kLow };

  explicit Turns(unsigned count) : free_(count) {}

  // Holds a turn while it lives. Blocks until there is one.
  class Hold {
   public:
    Hold(Turns& turns, Priority priority) : turns_(turns), priority_(priority) {
      turns_.Acquire(priority);
    }
    ~Hold() { turns_.Release(); }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

    // Gives the turn up and waits for one again: others come first.
    void Yield() {
      turns_.Release();
      turns_.Acquire(priority_);
    }

   private:
    Turns& turns_;
    const Priority priority_;
  };

 private:
  void Acquire(Priority priority) EXCLUDES(mutex_);
  void Release() EXCLUDES(mutex_);

  Mutex mutex_;
  CondVar high_;  // a turn is free and a thread of high priority waits
  CondVar low_;   // a turn is free and no thread of high priority waits
  unsigned free_ GUARDED_BY(mutex_);
  unsigned high_waiting_ GUARDED_BY(mutex_) = 0;
};

}  // namespace xzfs
