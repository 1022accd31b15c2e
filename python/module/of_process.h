// What a fork doesn't bring along.
#pragma once

#include <pybind11/pybind11.h>
#include <unistd.h>

#include <memory>
#include <stdexcept>
#include <utility>

#include "abandon.h"
#include "gil.h"

namespace xzfs::python {

// An object with threads, in the process that made it. A child of a fork has the object's memory
// and none of its threads, so there it is neither used nor destroyed. Guarded by the GIL.
template <class T>
class OfProcess {
 public:
  explicit OfProcess(std::shared_ptr<T> object) : object_(std::move(object)) {}
  // Waits for the threads without the GIL, which they may wait for.
  ~OfProcess() { Reset(); }
  OfProcess(const OfProcess&) = delete;
  OfProcess& operator=(const OfProcess&) = delete;

  // Throws ValueError after Reset, and RuntimeError in a child. Whoever holds the result lets it go
  // without the GIL.
  std::shared_ptr<T> Get() const {
    if (pid_ != getpid()) {
      throw std::runtime_error("it has threads, which a fork doesn't copy: open it in the child");
    }
    if (object_ == nullptr) {
      throw pybind11::value_error("I/O operation on closed file");
    }
    return object_;
  }

  void Reset() {
    std::shared_ptr<T> object = std::move(object_);
    if (pid_ != getpid()) {
      Abandon(std::move(object));
      return;
    }
    WithoutGil([&object] { object.reset(); });
  }

 private:
  const pid_t pid_ = getpid();
  std::shared_ptr<T> object_;
};

}  // namespace xzfs::python
