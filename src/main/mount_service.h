// A mount from its beginning to its end.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/unique_fd.h"
#include "fs/options.h"
#include "main/exit_code.h"

namespace xzfs {

struct MountRequest {
  UniqueFd source;
  std::string source_name;  // for the mount table
  std::string mountpoint;   // absolute
  Options options;          // resolved
  bool debug = false;
  bool single_threaded = false;
  // Called once when the mount answers, on one of its threads.
  std::function<void()> on_ready;
};

// Mounts, answers requests until the mount is unmounted or `signal_fd` (of CatchEndSignals) is
// readable, and unmounts. Blocks until then. Returns the reason if the mount never answered,
// nothing for a good end. A second signal ends the process at once, with the mount detached.
std::optional<Refusal> RunMount(MountRequest request, int signal_fd);

}  // namespace xzfs
