// The daemon's report to the process that started it: whether the mount answers.
#pragma once

#include <atomic>
#include <optional>
#include <utility>

#include "base/unique_fd.h"
#include "main/exit_code.h"
#include "xzfs/result.h"

namespace xzfs {

// A message is {exit code, length of the text (2 bytes), text}, written by one call, so it arrives
// as a whole. It has the length because other copies of the descriptor in the daemon may keep the
// pipe open: waiting for the end of the pipe might never end.

// The daemon's end of the pipe. Only its first report counts. Thread-safe.
class StartReporter {
 public:
  explicit StartReporter(UniqueFd pipe) : pipe_(std::move(pipe)) {}

  // The mount answers.
  void Ready() { Send({ExitCode::kSuccess, ""}); }
  // There will be no mount. The text is cut at kMaxTextBytes.
  void Refused(const Refusal& refusal) { Send(refusal); }

  static constexpr size_t kMaxTextBytes = 512;

 private:
  void Send(const Refusal& report);

  std::atomic<bool> sent_{false};
  UniqueFd pipe_;
};

// The other end. Returns the report, or nothing if the daemon ended without one. Blocks until then.
std::optional<Refusal> ReadStartReport(int pipe);

// Both ends of a new pipe, for reading and for writing; programs that are started don't inherit
// them.
Result<std::pair<UniqueFd, UniqueFd>> MakePipe();

}  // namespace xzfs
