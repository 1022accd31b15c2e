#include "ctl/mounts/mount_holders.h"

#include <charconv>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "base/mount_table.h"

namespace xzfs {

std::optional<MountHolder> FindMountHolder(dev_t device, pid_t daemon) {
  std::error_code error;
  const auto own = std::filesystem::read_symlink("/proc/self/ns/mnt", error);
  for (const auto& folder : std::filesystem::directory_iterator("/proc", error)) {
    const std::string number = folder.path().filename();
    pid_t process = 0;
    const auto [end, bad] = std::from_chars(number.data(), number.data() + number.size(), process);
    if (bad != std::errc() || end != number.data() + number.size() || process == daemon) {
      continue;
    }
    const auto space = std::filesystem::read_symlink(folder.path() / "ns/mnt", error);
    if (error || space == own) {
      continue;
    }
    for (const MountEntry& entry : ReadMountTable(folder.path() / "mountinfo")) {
      if (entry.is_xzfs() && entry.device == device) {
        MountHolder holder{.process = process, .name = {}, .mountpoint = entry.mountpoint};
        std::ifstream name(folder.path() / "comm");
        std::getline(name, holder.name);
        return holder;
      }
    }
  }
  return std::nullopt;
}

}  // namespace xzfs
