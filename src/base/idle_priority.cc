#include "base/idle_priority.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <set>
#include <system_error>
#include <thread>

#include "base/mutex.h"

namespace xzfs {
namespace {

constexpr int kLowNice = 10;

bool SetPolicy(pid_t thread, int policy) {
  const sched_param none = {};
  return sched_setscheduler(thread, policy, &none) == 0;
}

// As in linux/ioprio.h: a thread is IOPRIO_WHO_PROCESS with a thread id. Leaving the idle class
// needs no rights.
void SetIoClass(pid_t thread, int io_class) { syscall(SYS_ioprio_set, 1, thread, io_class << 13); }
constexpr int kIoIdle = 3;
constexpr int kIoByPolicy = 0;

// A thread is started to try this, as it may have to keep the priority.
bool CanRise() {
  bool rises = false;
  try {
    std::thread([&rises] { rises = SetPolicy(0, SCHED_IDLE) && SetPolicy(0, SCHED_OTHER); }).join();
  } catch (const std::system_error&) {
    // There is no thread for it: this is the safe answer.
  }
  return rises;
}

// The threads that want idle priority, and how many threads wait for their work.
class IdleThreads {
 public:
  void Enter(pid_t thread) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    threads_.insert(thread);
    if (waits_ == 0) {
      Lower(thread);
    }
  }
  void Leave(pid_t thread) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    threads_.erase(thread);
    if (waits_ == 0) {
      Raise(thread);
    }
  }
  void BeginWait() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (++waits_ != 1) {
      return;
    }
    for (const pid_t thread : threads_) {
      Raise(thread);
    }
  }
  void EndWait() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (--waits_ != 0) {
      return;
    }
    for (const pid_t thread : threads_) {
      Lower(thread);
    }
  }

 private:
  void Lower(pid_t thread) REQUIRES(mutex_) {
    if (can_rise_) {
      SetPolicy(thread, SCHED_IDLE);
    } else {
      setpriority(PRIO_PROCESS, static_cast<id_t>(thread), kLowNice);
    }
    SetIoClass(thread, kIoIdle);
  }
  void Raise(pid_t thread) REQUIRES(mutex_) {
    if (can_rise_) {
      SetPolicy(thread, SCHED_OTHER);
    }
    SetIoClass(thread, kIoByPolicy);
  }

  const bool can_rise_ = CanRise();
  Mutex mutex_;
  std::set<pid_t> threads_ GUARDED_BY(mutex_);
  unsigned waits_ GUARDED_BY(mutex_) = 0;
};

IdleThreads& Idle() {
  static IdleThreads threads;
  return threads;
}

thread_local bool is_idle = false;

}  // namespace

IdlePriority::IdlePriority() {
  is_idle = true;
  Idle().Enter(gettid());
}

IdlePriority::~IdlePriority() {
  is_idle = false;
  Idle().Leave(gettid());
}

AtNormalPriority::AtNormalPriority() : raised_(is_idle) {
  if (raised_) {
    is_idle = false;
    Idle().Leave(gettid());
  }
}

AtNormalPriority::~AtNormalPriority() {
  if (raised_) {
    is_idle = true;
    Idle().Enter(gettid());
  }
}

AwaitedWork::AwaitedWork() { Idle().BeginWait(); }

AwaitedWork::~AwaitedWork() { Idle().EndWait(); }

void UseLowPriority() {
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kLowNice);
  SetIoClass(gettid(), kIoIdle);
}

}  // namespace xzfs
