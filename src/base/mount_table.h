// What the kernel says is mounted, as this process sees it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace xzfs {

struct MountEntry {
  uint64_t id = 0;   // as statx(2) has it
  dev_t device = 0;  // as stat(2) has it
  std::string mountpoint;
  std::string type;    // such as "ext4" or "fuse.xzfs"
  std::string source;  // what was mounted; of xzfs the source's absolute path
  uid_t user = 0;      // of a FUSE mount: who mounted it

  bool is_xzfs() const { return type == "fuse.xzfs"; }
};

// In the order of the table: of two on one mountpoint the later one is seen. Empty if it can't be
// read. Asks no mount anything.
std::vector<MountEntry> ReadMountTable(const std::string& path = "/proc/self/mountinfo");

}  // namespace xzfs
