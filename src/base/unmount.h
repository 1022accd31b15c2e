// Finds mounts of xzfs in the mount table, and unmounts them.
#pragma once

#include <optional>
#include <string>

#include "base/mount_table.h"
#include "xzfs/result.h"

namespace xzfs {

// The uppermost mount on `mountpoint`, an absolute path without symlinks; nothing if that is not a
// mount of xzfs. Never sends a request to the mount itself.
std::optional<MountEntry> FindXzfsMount(const std::string& mountpoint);

// Unmounts as an ordinary user does: with the set-user-ID program of fuse3, and its options
// `letters` ("-u"). Errors: those of starting it; EBUSY if it failed. Then it has said why, unless
// it was told not to.
Status RunFusermount(const char* letters, const std::string& mountpoint);

// Detaches the mount of xzfs on `mountpoint`: the last resort if no daemon will answer for it.
// Returns whether it was detached.
bool LazyUnmount(const std::string& mountpoint);

// The same, but only if the mount's daemon is gone.
bool LazyUnmountIfStale(const std::string& mountpoint);

}  // namespace xzfs
