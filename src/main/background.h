// Going into the background without losing errors of the start.
#pragma once

#include <functional>
#include <string>

#include "base/unique_fd.h"
#include "main/exit_code.h"
#include "main/start_report.h"

namespace xzfs {

// Forks. The child leads a new session, runs `daemon` and returns its result. The parent waits
// until the child has reported through the StartReporter, prints a refusal and returns its code. On
// a signal it ends the child, makes sure that no mount stays on `mountpoint`, and returns
// kInterrupted. REQUIRES: there is no other thread, since a fork would lose it; CatchEndSignals
// made `signal_fd`.
ExitCode RunInBackground(int signal_fd, const std::string& mountpoint,
                         const std::function<ExitCode(StartReporter&)>& daemon);

// Prints "xzfs: MESSAGE" on stderr and returns the code.
ExitCode PrintRefusal(const Refusal& refusal);

}  // namespace xzfs
