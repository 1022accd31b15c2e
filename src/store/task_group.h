// Tasks of a pool that use what their caller owns.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "base/mutex.h"
#include "store/encode_pool.h"

namespace xzfs {

// Its end waits for all tasks, however it comes: also by an exception. So it's declared behind
// whatever they use. Not thread-safe.
class TaskGroup {
 public:
  explicit TaskGroup(EncodePool& pool) : pool_(pool) {}
  ~TaskGroup() {
    MutexLock lock(state_->mutex);
    while (state_->running != 0) {
      state_->ended.Wait(state_->mutex);
    }
  }
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  // Has the pool run the task, or runs it here. `task` doesn't throw.
  void Run(std::function<void()> task) {
    const Running running(state_);
    const auto counted = [task = std::move(task), running] { task(); };
    if (!pool_.TrySubmit(counted)) {
      counted();
    }
  }

 private:
  struct State {
    Mutex mutex;
    CondVar ended;
    unsigned running GUARDED_BY(mutex) = 0;
  };
  // Counts itself: a task is at work as long as one of them lives.
  class Running {
   public:
    explicit Running(std::shared_ptr<State> state) : state_(std::move(state)) { Count(); }
    Running(const Running& other) : state_(other.state_) { Count(); }
    Running& operator=(const Running&) = delete;
    ~Running() {
      MutexLock lock(state_->mutex);
      --state_->running;
      state_->ended.NotifyAll();
    }

   private:
    void Count() {
      MutexLock lock(state_->mutex);
      ++state_->running;
    }
    const std::shared_ptr<State> state_;
  };

  EncodePool& pool_;
  const std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace xzfs
