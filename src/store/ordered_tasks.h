// Tasks that run in any order and whose results are taken in the order of the tasks.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <utility>

#include "store/encode_pool.h"

namespace xzfs {

// The tasks may use what their caller owns: the destructor waits for all of them, also if an
// exception ends the scope. So declare this behind what they use. Not thread-safe.
template <class T>
class OrderedTasks {
 public:
  // `pool` outlives this.
  explicit OrderedTasks(EncodePool& pool) : pool_(pool) {}
  ~OrderedTasks() {
    for (const std::future<T>& result : results_) {
      result.wait();
    }
  }
  OrderedTasks(const OrderedTasks&) = delete;
  OrderedTasks& operator=(const OrderedTasks&) = delete;

  // Gives the task to a thread of the pool, or runs it here if all of them have enough to do.
  void Run(std::function<T()> task) {
    const auto packaged = Add(std::move(task));
    if (!pool_.TrySubmit([packaged] { (*packaged)(); })) {
      (*packaged)();
    }
  }
  // Runs the task here.
  void RunHere(std::function<T()> task) { (*Add(std::move(task)))(); }

  // Returns the result of the first task whose result wasn't taken, or throws what that task threw.
  // Blocks. REQUIRES: size() != 0.
  T Next() {
    std::future<T> result = std::move(results_.front());
    results_.pop_front();
    return result.get();
  }
  // How many results weren't taken.
  size_t size() const { return results_.size(); }

 private:
  std::shared_ptr<std::packaged_task<T()>> Add(std::function<T()> task) {
    auto packaged = std::make_shared<std::packaged_task<T()>>(std::move(task));
    results_.push_back(packaged->get_future());
    return packaged;
  }

  EncodePool& pool_;
  std::deque<std::future<T>> results_;
};

}  // namespace xzfs
