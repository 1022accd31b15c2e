// What is looked at before anything is mounted, so that a refusal names its cause and its remedy.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/mount_table.h"
#include "base/unique_fd.h"
#include "main/exit_code.h"
#include "xzfs/result.h"

namespace xzfs {

struct MountPaths {
  UniqueFd source;          // O_PATH; still the source when the mount covers it
  std::string source_name;  // absolute, without symlinks
  std::string mountpoint;   // likewise
  bool source_is_read_only = false;
  bool source_is_nosuid = false;
  bool source_is_nodev = false;
  std::string shared_filesystem;  // as SharedFilesystem has it, of the source
};

// Opens the source and resolves the mountpoint. Refuses what is missing, no directory, a mount
// whose daemon is gone, or one inside the other; equal is fine. Refuses what other mounts of xzfs
// in `mounts` are in the way of, see CheckOtherMounts.
Result<MountPaths, Refusal> CheckPaths(const std::string& source, const std::string& mountpoint,
                                       const std::vector<MountEntry>& mounts);

// Refuses a source that is (in) a mount of xzfs; one that lies in the source of another mount or
// has that below it, so that two daemons would have the same files; and a mountpoint where the same
// source is mounted already. Both are absolute paths without symlinks; `source_mount` is the id of
// the mount that the source lies in, 0 if it isn't known.
Result<void, Refusal> CheckOtherMounts(const std::string& source, uint64_t source_mount,
                                       const std::string& mountpoint,
                                       const std::vector<MountEntry>& mounts);

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
Result<void, Refusal> CheckFuse(const FuseHost& host, bool allow_other);

// Makes of libfuse's or fusermount3's error what the user is told.
Refusal ExplainMountError(const Error& error, const std::string& mountpoint);

}  // namespace xzfs
