// A question that may never be answered.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>

namespace xzfs {

// Calls `ask` in a process of its own, and returns what it returns. A system call on a mount hangs
// if the mount's daemon hangs, and even a signal may not end it. Returns nothing if that takes
// longer than `limit`; the process is left behind, killed, and ends when the system call does.
// REQUIRES: no other thread runs.
std::optional<std::string> AskInTime(std::chrono::milliseconds limit,
                                     const std::function<std::string()>& ask);

}  // namespace xzfs
