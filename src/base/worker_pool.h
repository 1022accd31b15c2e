// Threads for work that no other thread waits for.
#pragma once

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "base/mutex.h"

namespace xzfs {

// Runs tasks on a fixed number of threads, in the order in which they were added. Thread-safe. A
// task is a leaf: it never waits for another task of the same pool.
class WorkerPool {
 public:
  // Threads start at Start, not before: a program that forks into the background must have none
  // until then. At most `queue_limit` tasks wait.
  WorkerPool(unsigned thread_count, size_t queue_limit);
  ~WorkerPool() { Stop(); }
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Starts fewer threads, or none, if the system gives no more.
  void Start();
  // Drops the tasks that wait, and waits for those that run. From then on it takes no task.
  void Stop() EXCLUDES(mutex_);
  // Sets how many threads work, and starts those that are missing. A task that runs is not ended.
  void SetThreads(unsigned count) EXCLUDES(mutex_);
  // Returns false, and does nothing, if the queue is full or the pool has not been started.
  bool TrySubmit(std::function<void()> task) EXCLUDES(mutex_);
  // Returns when no task waits or runs. Blocks.
  void WaitIdle() EXCLUDES(mutex_);

 private:
  void Run() EXCLUDES(mutex_);
  void StartThreads() REQUIRES(mutex_);

  const size_t queue_limit_;
  Mutex mutex_;
  CondVar work_;  // a task was added, or stopping_ was set
  CondVar idle_;  // the last task ended
  std::deque<std::function<void()>> tasks_ GUARDED_BY(mutex_);
  unsigned thread_count_ GUARDED_BY(mutex_);
  unsigned running_ GUARDED_BY(mutex_) = 0;
  bool started_ GUARDED_BY(mutex_) = false;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
