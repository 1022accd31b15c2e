// Work that leaves the processor and the disk to everything else first.
//
// On a busy machine a thread at idle priority may not run for minutes. So a thread has that
// priority only while it computes and holds no lock, and its priority is raised as soon as another
// thread waits for such work. The system allows raising it with root's rights, or with a limit on
// nice values of 20 or more. Where it doesn't, a thread permanently gets a nice value of 10
// instead: that is about a tenth of the time of a busy program, so no thread waits forever.
#pragma once

namespace xzfs {

// While it lives the calling thread has idle priority, unless there is an AwaitedWork, and must
// hold no lock. At most one at a time on each thread.
class IdlePriority {
 public:
  IdlePriority();
  ~IdlePriority();
  IdlePriority(const IdlePriority&) = delete;
  IdlePriority& operator=(const IdlePriority&) = delete;
};

// A part of such work that other threads may wait for, such as a Block that readers also want. Does
// nothing outside of IdlePriority.
class AtNormalPriority {
 public:
  AtNormalPriority();
  ~AtNormalPriority();
  AtNormalPriority(const AtNormalPriority&) = delete;
  AtNormalPriority& operator=(const AtNormalPriority&) = delete;

 private:
  const bool raised_;
};

// A thread waits for work of this process: while one of these lives, no thread has idle priority.
// It may be made on one thread and destroyed on another.
class AwaitedWork {
 public:
  AwaitedWork();
  ~AwaitedWork();
  AwaitedWork(const AwaitedWork&) = delete;
  AwaitedWork& operator=(const AwaitedWork&) = delete;
};

// The calling thread gets a nice value of 10 and the idle I/O class until it ends. It may hold
// locks.
void UseLowPriority();

}  // namespace xzfs
