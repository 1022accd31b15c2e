// Mounts of xzfs as the mount table has them, and their end.
#pragma once

#include <optional>
#include <string>

#include "base/mount_table.h"
#include "xzfs/result.h"

namespace xzfs {

// The uppermost mount on `mountpoint`, an absolute path without symlinks; nothing if that is none
// of xzfs. Never asks the mount itself.
std::optional<MountEntry> FindXzfsMount(const std::string& mountpoint);

// As an ordinary user unmounts: by the set-user-ID program of fuse3, with `letters` ("-u"). Errors:
// what starting it says; EBUSY if it failed, of which it said why unless it was told not to.
Status RunFusermount(const char* letters, const std::string& mountpoint);

// Detaches the mount of xzfs on `mountpoint`: the last resort if nobody will answer for it. Returns
// whether it was detached.
bool LazyUnmount(const std::string& mountpoint);

// The same, only if the mount's daemon is gone.
bool LazyUnmountIfStale(const std::string& mountpoint);

}  // namespace xzfs
