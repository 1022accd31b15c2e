// The last resort for a mount that nobody will answer for.
#pragma once

#include <string>

namespace xzfs {

// Detaches what is mounted on `mountpoint` if the mount table calls it an xzfs mount. Never asks
// the mount itself. Returns whether it was detached.
bool LazyUnmount(const std::string& mountpoint);

// The same, only if the mount's daemon is gone.
bool LazyUnmountIfStale(const std::string& mountpoint);

}  // namespace xzfs
