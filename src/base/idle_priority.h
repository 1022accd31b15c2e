// Threads that give the processor and the disk to everybody else first.
#pragma once

namespace xzfs {

// Of the calling thread, until it ends or EndIdlePriority is called.
void UseIdlePriority();

// What others wait for is not done at idle priority: a lock held, a Block decoded that readers may
// want, too. Does nothing on threads of normal priority, and where the system lets no thread rise:
// it lets those of root.
class AtNormalPriority {
 public:
  AtNormalPriority();
  ~AtNormalPriority();
  AtNormalPriority(const AtNormalPriority&) = delete;
  AtNormalPriority& operator=(const AtNormalPriority&) = delete;

 private:
  const bool raised_;
};

// Somebody waits until all is done: no thread of this process is at idle priority any more, nor
// gets there. On a busy machine such a thread may not even end for minutes. Thread-safe.
void EndIdlePriority();

}  // namespace xzfs
