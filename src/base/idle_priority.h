// Work that gives the processor and the disk to everybody else first.
//
// On a busy machine a thread at idle priority may not run for minutes. So it is there only while it
// computes: it holds no lock then, and it rises as soon as somebody waits for such work. The system
// lets a thread rise that has root's rights, or a limit on nice values of 20 or more. Where it lets
// none rise, a thread gets a nice value of 10 for good instead: about a tenth of what a busy
// program gets, so that nobody waits for ever.
#pragma once

namespace xzfs {

// While it lives the calling thread is at idle priority, unless there is an AwaitedWork. The thread
// holds no lock meanwhile. One at a time on each thread.
class IdlePriority {
 public:
  IdlePriority();
  ~IdlePriority();
  IdlePriority(const IdlePriority&) = delete;
  IdlePriority& operator=(const IdlePriority&) = delete;
};

// A part of it that others may wait for, as a Block that readers want, too. Does nothing outside of
// IdlePriority.
class AtNormalPriority {
 public:
  AtNormalPriority();
  ~AtNormalPriority();
  AtNormalPriority(const AtNormalPriority&) = delete;
  AtNormalPriority& operator=(const AtNormalPriority&) = delete;

 private:
  const bool raised_;
};

// Somebody waits for work of this process: while one of these lives no thread is at idle priority.
// On any thread; its maker and its end may be on different ones.
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
