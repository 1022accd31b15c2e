// Checks before the mount, so that a refusal names its cause and its remedy.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/fuse_host.h"
#include "base/mount_table.h"
#include "base/unique_fd.h"
#include "main/exit_code.h"
#include "xzfs/result.h"

namespace xzfs {

struct MountPaths {
  UniqueFd source;          // O_PATH; valid also when the mount covers it
  std::string source_name;  // absolute, without symlinks
  std::string mountpoint;   // absolute, without symlinks
  bool source_is_read_only = false;
  bool source_is_nosuid = false;
  bool source_is_nodev = false;
  std::string shared_filesystem;  // SharedFilesystem of the source
};

// Opens the source and resolves the mountpoint. Refuses paths that are missing, not directories, or
// stale mounts, and a path that lies inside the other; equal paths are fine. Also refuses
// conflicts with other mounts of xzfs in `mounts`, see CheckOtherMounts.
Result<MountPaths, Refusal> CheckPaths(const std::string& source, const std::string& mountpoint,
                                       const std::vector<MountEntry>& mounts);

// Refuses a source that is (in) a mount of xzfs; one that lies in the source of another mount or
// contains it, so that two daemons would have the same files; and a mountpoint where the same
// source is mounted already. Both are absolute paths without symlinks. `source_mount`: the id of
// the mount in which the source lies, 0 if unknown.
Result<void, Refusal> CheckOtherMounts(const std::string& source, uint64_t source_mount,
                                       const std::string& mountpoint,
                                       const std::vector<MountEntry>& mounts);

// Refuses what this user can't do on this host.
Result<void, Refusal> CheckFuse(const FuseHost& host, bool allow_other);

// Turns an error of libfuse or fusermount3 into the message for the user.
Refusal ExplainMountError(const Error& error, const std::string& mountpoint);

}  // namespace xzfs
