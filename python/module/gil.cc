#include "gil.h"

#include <unistd.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

namespace xzfs::python {
namespace {

// Of this process. It is never destroyed: threads may look at it until the process ends.
struct Callbacks {
  std::mutex mutex;
  std::condition_variable left;
  unsigned count = 0;                     // under way
  std::optional<std::thread::id> end_by;  // set once the interpreter ends
};

Callbacks& TheCallbacks() {
  static Callbacks* const callbacks = std::make_unique<Callbacks>().release();
  return *callbacks;
}

bool EndedByAnotherThread(const Callbacks& callbacks) {
  return callbacks.end_by && *callbacks.end_by != std::this_thread::get_id();
}

}  // namespace

void EndCallbacks() {
  WithoutGil([] {
    Callbacks& callbacks = TheCallbacks();
    std::unique_lock lock(callbacks.mutex);
    callbacks.end_by = std::this_thread::get_id();
    callbacks.left.wait(lock, [&] { return callbacks.count == 0; });
  });
}

GilRelease::~GilRelease() noexcept(false) {
  bool too_late = false;
  {
    Callbacks& callbacks = TheCallbacks();
    const std::lock_guard lock(callbacks.mutex);
    too_late = EndedByAnotherThread(callbacks);
  }
  if (too_late) {
    while (true) {
      pause();
    }
  }
  PyEval_RestoreThread(state_);
}

CallbackPass::CallbackPass()
    : granted_([] {
        Callbacks& callbacks = TheCallbacks();
        const std::lock_guard lock(callbacks.mutex);
        if (EndedByAnotherThread(callbacks)) {
          return false;
        }
        ++callbacks.count;
        return true;
      }()) {}

CallbackPass::~CallbackPass() {
  if (granted_) {
    Callbacks& callbacks = TheCallbacks();
    const std::lock_guard lock(callbacks.mutex);
    --callbacks.count;
    callbacks.left.notify_all();
  }
}

}  // namespace xzfs::python
