// Finds mounts of xzfs in the mount table, and unmounts them.
#pragma once

#include <sys/types.h>

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

// Unmounts the mount of xzfs on `mountpoint` that has this st_dev, as its owner may. Does nothing
// if a program has a file open in it, or works in it, or if another mount lies over it. Returns
// whether it was unmounted.
bool UnmountUnused(const std::string& mountpoint, dev_t device);

// Detaches the mount of xzfs on `mountpoint`: the last resort if no daemon will answer for it.
// Returns whether it was detached.
bool LazyUnmount(const std::string& mountpoint);

// The same, but only if the mount's daemon is gone.
bool LazyUnmountIfStale(const std::string& mountpoint);

}  // namespace xzfs
