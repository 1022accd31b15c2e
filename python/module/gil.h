// The interpreter's lock, the GIL: giving it up for work that needs no Python, and taking it in
// threads that the interpreter doesn't know.
#pragma once

#include <pybind11/pybind11.h>

#include <type_traits>

namespace xzfs::python {

// Called once, by the thread that ends the interpreter, with the GIL. From then on no other thread
// gets a CallbackPass. Returns when no other thread has one. Blocks.
void EndCallbacks();

// Where a thread gives the GIL up, and where it takes it back. If the interpreter has ended
// meanwhile and another thread ended it, the thread waits in the destructor for the process to end:
// there is no interpreter that could go on.
class GilRelease {
 public:
  GilRelease() : state_(PyEval_SaveThread()) {}
  // Python ends a thread that asks for the GIL too late by unwinding its stack.
  ~GilRelease() noexcept(false);
  GilRelease(const GilRelease&) = delete;
  GilRelease& operator=(const GilRelease&) = delete;

 private:
  PyThreadState* const state_;
};

// Runs `work` without the GIL, and returns what it returns. `work` touches no Python object.
template <class Work>
std::invoke_result_t<Work> WithoutGil(const Work& work) {
  const GilRelease release;
  return work();
}

// The right to call Python from any thread. There is none once the interpreter ends.
class CallbackPass {
 public:
  CallbackPass();
  ~CallbackPass();
  CallbackPass(const CallbackPass&) = delete;
  CallbackPass& operator=(const CallbackPass&) = delete;
  explicit operator bool() const { return granted_; }

 private:
  const bool granted_;
};

// Holds the GIL while it lives. REQUIRES: a CallbackPass that was granted and lives longer.
class GilHold {
 public:
  GilHold() : state_(PyGILState_Ensure()) {}
  ~GilHold() { PyGILState_Release(state_); }
  GilHold(const GilHold&) = delete;
  GilHold& operator=(const GilHold&) = delete;

 private:
  const PyGILState_STATE state_;
};

}  // namespace xzfs::python
