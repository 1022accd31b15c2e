// The signals that end a mount, as a descriptor to wait for.
#pragma once

#include "base/unique_fd.h"
#include "xzfs/result.h"

namespace xzfs {

// Blocks SIGTERM, SIGINT and SIGHUP in this thread and those that it starts, and returns a
// descriptor that is readable when one of them is pending. One that was ignored when the program
// started (nohup) stays ignored.
Result<UniqueFd> CatchEndSignals();

// Takes one pending signal from the descriptor and returns its number, or 0 if there is none.
int TakeSignal(int signal_fd);

// Waits until `signal_fd` or `other` is readable (or closed at the other end): true if it is
// `other`, which is checked first.
bool WaitForOther(int signal_fd, int other);

}  // namespace xzfs
