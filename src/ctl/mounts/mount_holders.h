// Finds the program that keeps a mount alive after it was unmounted here.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

namespace xzfs {

struct MountHolder {
  pid_t process = 0;
  std::string name;        // the program's
  std::string mountpoint;  // as that process sees it
};

// A process in another mount namespace, such as a container's, that has a copy of the mount with
// this st_dev. `daemon`, which serves the mount, doesn't count. Nothing if there is none, or if we
// may not see it.
std::optional<MountHolder> FindMountHolder(dev_t device, pid_t daemon);

}  // namespace xzfs
