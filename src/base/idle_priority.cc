#include "base/idle_priority.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <set>

#include "base/mutex.h"

namespace xzfs {
namespace {

bool SetPolicy(pid_t thread, int policy) {
  const sched_param none = {};
  return sched_setscheduler(thread, policy, &none) == 0;
}

// As linux/ioprio.h has them: a thread is IOPRIO_WHO_PROCESS of a thread id.
void SetIoClass(pid_t thread, int io_class) { syscall(SYS_ioprio_set, 1, thread, io_class << 13); }
constexpr int kIoIdle = 3;
constexpr int kIoByPolicy = 0;

// The threads at idle priority, and whether there may be any.
class IdleThreads {
 public:
  bool Lower(pid_t thread) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (ended_ || !SetPolicy(thread, SCHED_IDLE)) {
      return false;
    }
    SetIoClass(thread, kIoIdle);
    threads_.insert(thread);
    return true;
  }
  bool Raise(pid_t thread) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (!SetPolicy(thread, SCHED_OTHER)) {
      return false;
    }
    SetIoClass(thread, kIoByPolicy);
    threads_.erase(thread);
    return true;
  }
  void Forget(pid_t thread) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    threads_.erase(thread);
  }
  void End() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    ended_ = true;
    for (const pid_t thread : threads_) {
      SetPolicy(thread, SCHED_OTHER);
      SetIoClass(thread, kIoByPolicy);
    }
    threads_.clear();
  }

 private:
  Mutex mutex_;
  std::set<pid_t> threads_ GUARDED_BY(mutex_);
  bool ended_ GUARDED_BY(mutex_) = false;
};

IdleThreads& Idle() {
  static IdleThreads threads;
  return threads;
}

// What the calling thread is. Its id may be another thread's when it has ended.
struct ThisThread {
  ~ThisThread() {
    if (is_idle) {
      Idle().Forget(gettid());
    }
  }
  bool is_idle = false;
};
thread_local ThisThread this_thread;

}  // namespace

void UseIdlePriority() { this_thread.is_idle = Idle().Lower(gettid()); }

AtNormalPriority::AtNormalPriority() : raised_(this_thread.is_idle && Idle().Raise(gettid())) {
  this_thread.is_idle = this_thread.is_idle && !raised_;
}

AtNormalPriority::~AtNormalPriority() {
  if (raised_) {
    UseIdlePriority();
  }
}

void EndIdlePriority() { Idle().End(); }

}  // namespace xzfs
