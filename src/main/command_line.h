// The command line of xzfs, which is also mount(8)'s helper mount.xzfs.
#pragma once

#include <string>
#include <vector>

#include "fs/options.h"
#include "xzfs/result.h"

namespace xzfs {

struct CommandLine {
  enum class Action {
    kMount,
    kNothing,  // mount(8)'s "fake": the command line was right, and that is all that is asked
    kHelp,
    kVersion,
  };

  Action action = Action::kMount;
  std::string source;      // as it was written
  std::string mountpoint;  // as it was written
  Options options;         // not yet resolved
  bool foreground = false;
  bool debug = false;
  bool single_threaded = false;
  // The mount flags begin as those of the source's own file system, where they are stricter than
  // the options say.
  bool inherits_flags = false;
  // The mount namespace to mount in, as a path; empty: ours.
  std::string mount_namespace;
};

// Understands `argv`, the program's name included. A name that begins with "mount." selects the
// meaning that mount(8) gives -f, -s, -n, -v, -t and -N, and `by_root`, as all that root mounts by
// it, set-id bits and devices.
// Errors: EINVAL with one line for the user.
// Not thread-safe: getopt has global state.
Result<CommandLine> ParseCommandLine(const std::vector<std::string>& argv, bool by_root);

// What -h and -V print.
std::string HelpText();
std::string VersionText();

}  // namespace xzfs
