// The program that keeps a mount alive that is unmounted here.
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

// A process in another mount namespace, as a container has one, that has a copy of the mount with
// this st_dev; `daemon`, which serves it, doesn't count. Nothing if there is none, or it isn't for
// us to see.
std::optional<MountHolder> FindMountHolder(dev_t device, pid_t daemon);

}  // namespace xzfs
