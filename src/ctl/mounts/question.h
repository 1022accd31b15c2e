// A question that may never be answered.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "base/unique_fd.h"
#include "ctl/shell/json.h"
#include "xzfs/result.h"

namespace xzfs {

// A system call on a mount hangs if the mount's daemon hangs, and even SIGKILL may not end it. So a
// process of its own makes it, and this one can go on, or end. Not thread-safe.
class Question {
 public:
  // Calls `ask` in that process. REQUIRES: no other thread runs.
  explicit Question(const std::function<Result<Json>()>& ask);
  // Leaves the process behind, killed, if it hasn't answered: it ends when its system call does.
  ~Question();
  Question(const Question&) = delete;
  Question& operator=(const Question&) = delete;

  // Is readable when Read has something to take.
  int fd() const { return from_.get(); }
  // Takes what has come, and doesn't wait. Returns the answer when all of it is there: what `ask`
  // has returned, or an error if the process could not be made or has died.
  std::optional<Result<Json>> Read();
  // Waits for the answer, at most this long.
  std::optional<Result<Json>> WaitFor(std::chrono::milliseconds limit);
  // Waits for it as long as it takes. A signal ends this process then as it would at any time.
  Result<Json> Wait();

 private:
  UniqueFd from_;
  pid_t child_ = -1;
  std::string text_;
};

}  // namespace xzfs
