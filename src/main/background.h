// Goes into the background without losing what went wrong on the way.
#pragma once

#include <functional>
#include <string>

#include "base/unique_fd.h"
#include "main/exit_code.h"
#include "main/start_report.h"

namespace xzfs {

// Forks. The child leads a session of its own, runs `daemon` and returns what that returned. The
// parent waits until the child has reported through the StartReporter, prints a refusal and returns
// its code; on a signal it ends the child, takes care that no mount stays on `mountpoint` and
// returns kInterrupted.
// REQUIRES: no other thread exists: a fork would lose it; CatchEndSignals made `signal_fd`.
ExitCode RunInBackground(int signal_fd, const std::string& mountpoint,
                         const std::function<ExitCode(StartReporter&)>& daemon);

// Prints "xzfs: MESSAGE" on stderr and returns the code.
ExitCode PrintRefusal(const Refusal& refusal);

}  // namespace xzfs
