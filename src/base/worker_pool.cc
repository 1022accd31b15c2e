#include "base/worker_pool.h"

#include <exception>
#include <system_error>
#include <utility>

namespace xzfs {

WorkerPool::WorkerPool(unsigned thread_count, size_t queue_limit)
    : queue_limit_(queue_limit), thread_count_(thread_count) {}

void WorkerPool::Stop() {
  std::vector<std::thread> threads;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    tasks_.clear();
    threads.swap(threads_);
  }
  work_.NotifyAll();
  for (std::thread& thread : threads) {
    thread.join();
  }
}

void WorkerPool::Start() {
  MutexLock lock(mutex_);
  StartThreads();
  started_ = !threads_.empty();
}

void WorkerPool::StartThreads() {
  try {
    while (threads_.size() < thread_count_) {
      threads_.emplace_back([this] { Run(); });
    }
  } catch (const std::system_error&) {
    // There are no more threads: go on with those that we have.
  }
}

void WorkerPool::SetThreads(unsigned count) {
  {
    MutexLock lock(mutex_);
    thread_count_ = count;
    if (started_ && !stopping_) {
      StartThreads();
    }
  }
  work_.NotifyAll();
}

bool WorkerPool::TrySubmit(std::function<void()> task) {
  {
    MutexLock lock(mutex_);
    if (!started_ || stopping_ || tasks_.size() >= queue_limit_) {
      return false;
    }
    tasks_.push_back(std::move(task));
  }
  work_.NotifyOne();
  return true;
}

void WorkerPool::WaitIdle() {
  MutexLock lock(mutex_);
  while (!tasks_.empty() || running_ != 0) {
    idle_.Wait(mutex_);
  }
}

void WorkerPool::Run() {
  mutex_.Lock();
  for (;;) {
    while ((tasks_.empty() || running_ >= thread_count_) && !stopping_) {
      work_.Wait(mutex_);
    }
    if (stopping_) {
      break;
    }
    std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    ++running_;
    mutex_.Unlock();
    try {
      task();
    } catch (const std::exception&) {
      // Nobody waits for the task. Memory ran out, and whoever needs the result will report that.
    }
    task = nullptr;  // destroying what it holds may take locks
    mutex_.Lock();
    if (--running_ == 0 && tasks_.empty()) {
      idle_.NotifyAll();
    }
  }
  mutex_.Unlock();
}

}  // namespace xzfs
