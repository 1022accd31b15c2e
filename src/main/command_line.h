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
    kNothing,  // mount(8)'s "fake": only check the command line, which was right
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
  // The mount also gets those flags of the source's own file system that are stricter than the
  // options.
  bool inherits_flags = false;
  // The mount namespace to mount in, as a path; empty: ours.
  std::string mount_namespace;
};

// Parses `argv`, which includes the program's name. If that name begins with "mount.", then -f, -s,
// -n, -v, -t and -N have the meaning that mount(8) gives them; with `by_root`, set-id bits and
// devices have an effect, too, as in everything that root mounts with mount(8). Errors: EINVAL with
// one line for the user. Not thread-safe: getopt has global state.
Result<CommandLine> ParseCommandLine(const std::vector<std::string>& argv, bool by_root);

// What -h and -V print.
std::string HelpText();
std::string VersionText();

}  // namespace xzfs
