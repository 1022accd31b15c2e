// What the kernel says is mounted, as this process sees it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace xzfs {

struct MountEntry {
  uint64_t id = 0;   // as in statx(2)
  dev_t device = 0;  // as in stat(2)
  std::string mountpoint;
  std::string type;    // such as "ext4" or "fuse.xzfs"
  std::string source;  // what was mounted; for xzfs the source's absolute path
  uid_t user = 0;      // of a FUSE mount: the user that mounted it

  bool is_xzfs() const { return type == "fuse.xzfs"; }
};

// The mounts in the order of the table: of two on one mountpoint the later one is visible. Empty if
// the table can't be read. Sends no request to any mount.
std::vector<MountEntry> ReadMountTable(const std::string& path = "/proc/self/mountinfo");

}  // namespace xzfs
