// What is looked at before anything is mounted, so that a refusal names its cause and its remedy.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/unique_fd.h"
#include "main/exit_code.h"
#include "xzfs/result.h"

namespace xzfs {

struct MountPaths {
  UniqueFd source;         // O_PATH; still the source when the mount covers it
  std::string mountpoint;  // absolute, without symlinks
  bool source_is_read_only = false;
};

// Opens the source and resolves the mountpoint. Refuses what is missing, no directory, a mount
// whose daemon is gone, or one inside the other; equal is fine.
tl::expected<MountPaths, Refusal> CheckPaths(const std::string& source,
                                             const std::string& mountpoint);

// What the checks below ask; a test points it elsewhere.
struct FuseHost {
  uid_t user = 0;
  std::string device = "/dev/fuse";
  std::string configuration = "/etc/fuse.conf";
  // Where fusermount3 is looked for, as in PATH.
  std::string search_path;

  static FuseHost Real();
};

// Refuses what this user can't do on this host.
tl::expected<void, Refusal> CheckFuse(const FuseHost& host, bool allow_other);

// Makes of libfuse's or fusermount3's error what the user is told.
Refusal ExplainMountError(const Error& error, const std::string& mountpoint);

}  // namespace xzfs
