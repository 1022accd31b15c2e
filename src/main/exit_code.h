// The exit codes of xzfs: those of mount(8), so that it can be called as its helper.
#pragma once

#include <string>

namespace xzfs {

// Part of the command line's contract: scripts rely on them.
enum class ExitCode : int {
  kSuccess = 0,       // mounted; in the foreground: unmounted
  kUsage = 1,         // the command line is wrong, or this user may not do that
  kSystem = 2,        // the system lacks something: /dev/fuse, memory, a process
  kInternal = 4,      // our own mistake
  kInterrupted = 8,   // a signal came before the mount answered
  kMountFailed = 32,  // this source can't be mounted on this mountpoint
};

// Why there is no mount: the exit code, and the line for the user without "xzfs: ".
struct Refusal {
  ExitCode code = ExitCode::kInternal;
  std::string message;
};

}  // namespace xzfs
