// Every thread that takes part takes numbers from a counter, in small groups. The caller takes
// part, so a pool that is busy or has no threads only means that there is no help. A helper that
// comes when the caller is done finds the work closed and touches nothing of it. An exception ends
// the work for all threads, and is kept until no thread is in the body any more.
#include "base/parallel_for.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>
#include <new>
#include <utility>

#include "base/mutex.h"

namespace xzfs {
namespace {

class SharedLoop {
 public:
  SharedLoop(size_t count, const std::function<void(size_t)>& body, size_t group)
      : count_(count), body_(body), group_(group) {}

  void Work() EXCLUDES(mutex_) try {
    for (size_t begin = next_.fetch_add(group_); begin < count_; begin = next_.fetch_add(group_)) {
      const size_t end = std::min(begin + group_, count_);
      for (size_t i = begin; i < end; ++i) {
        body_(i);
      }
    }
  } catch (...) {
    next_ = count_;
    MutexLock lock(mutex_);
    exception_ = exception_ ? exception_ : std::current_exception();
  }

  void Help() EXCLUDES(mutex_) {
    {
      MutexLock lock(mutex_);
      if (closed_) {
        return;
      }
      ++helping_;
    }
    Work();
    MutexLock lock(mutex_);
    if (--helping_ == 0) {
      done_.NotifyAll();
    }
  }

  // No helper begins after this, and all have ended. Returns the first exception, or null.
  std::exception_ptr Close() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    closed_ = true;
    while (helping_ != 0) {
      done_.Wait(mutex_);
    }
    return std::move(exception_);
  }

 private:
  const size_t count_;
  const std::function<void(size_t)>& body_;  // not used once it is closed
  const size_t group_;
  std::atomic<size_t> next_{0};
  Mutex mutex_;
  CondVar done_;
  bool closed_ GUARDED_BY(mutex_) = false;
  unsigned helping_ GUARDED_BY(mutex_) = 0;
  std::exception_ptr exception_ GUARDED_BY(mutex_);
};

}  // namespace

void ParallelFor(WorkerPool& pool, unsigned helpers, size_t count,
                 const std::function<void(size_t)>& body, size_t group) {
  const auto loop = std::make_shared<SharedLoop>(count, body, group);
  try {
    for (unsigned i = 0; i < helpers; ++i) {
      if (!pool.TrySubmit([loop] { loop->Help(); })) {
        break;
      }
    }
  } catch (const std::bad_alloc&) {
    // Go on as if the pool were busy: helpers that were asked before may be at work.
  }
  loop->Work();
  if (const std::exception_ptr exception = loop->Close()) {
    std::rethrow_exception(exception);
  }
}

}  // namespace xzfs
