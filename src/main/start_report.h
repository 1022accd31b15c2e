// How the daemon tells the process that started it whether the mount answers.
#pragma once

#include <atomic>
#include <optional>
#include <utility>

#include "base/unique_fd.h"
#include "main/exit_code.h"
#include "xzfs/result.h"

namespace xzfs {

// A message is {exit code, length of the text (2 bytes), text}, written by one call, so that what
// has begun to arrive is all there. The length is said because the living daemon's other copies of
// the descriptor may keep the pipe open: waiting for its end could be for ever.

// The daemon's end. Its first report counts. Thread-safe.
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

// The other end: the report, or nothing if the daemon ended without one. Blocks until then.
std::optional<Refusal> ReadStartReport(int pipe);

// Both ends of a new pipe, which no program that is started inherits: to read from, to write to.
Result<std::pair<UniqueFd, UniqueFd>> MakePipe();

}  // namespace xzfs
