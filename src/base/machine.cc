// Limits are read where the kernel keeps them: our affinity mask, and the control groups that
// /proc/self/cgroup says we are in. A limit applies to everything below the group that it is set
// on. So we read each group from ours up to the root of the hierarchy, and the least value counts.
// Machines mount version 1, version 2 or both, at any place: /proc/self/mountinfo says where.
#include "base/machine.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>
#include <vector>

namespace xzfs {
namespace {

// Where one hierarchy of control groups is mounted.
struct CgroupMount {
  bool version2 = false;
  std::string top;          // the group that is visible at `mount_point`
  std::string mount_point;  // with the root path in front
  std::string controllers;  // version 1: "rw,memory"
};

std::vector<std::string> SplitWords(const std::string& line) {
  std::istringstream stream(line);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) {
    words.push_back(word);
  }
  return words;
}

bool ListContains(std::string_view list, std::string_view word) {
  while (true) {
    const size_t comma = list.find(',');
    if (list.substr(0, comma) == word) {
      return true;
    }
    if (comma == std::string_view::npos) {
      return false;
    }
    list.remove_prefix(comma + 1);
  }
}

// mountinfo writes space, tab, newline and backslash as \040 and so on.
std::string UnescapeOctal(std::string_view text) {
  const auto is_octal = [](char c) { return c >= '0' && c <= '7'; };
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && is_octal(text[i + 1]) && is_octal(text[i + 2]) &&
        is_octal(text[i + 3])) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                 (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

// Fields of mountinfo: id parent dev ROOT MOUNTPOINT options [optional...] - TYPE device SUPER.
std::vector<CgroupMount> CgroupMounts(const std::string& root) {
  std::vector<CgroupMount> mounts;
  std::ifstream file(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> words = SplitWords(line);
    const auto dash = std::find(words.begin(), words.end(), "-");
    if (dash - words.begin() < 6 || words.end() - dash < 4) {
      continue;
    }
    const std::string& type = *(dash + 1);
    if (type != "cgroup" && type != "cgroup2") {
      continue;
    }
    mounts.push_back(
        {type == "cgroup2", UnescapeOctal(words[3]), root + UnescapeOctal(words[4]), *(dash + 3)});
  }
  return mounts;
}

// The folders of `group` and all groups above it that this mount shows.
std::vector<std::string> FoldersUpwards(const CgroupMount& mount, std::string group) {
  // A container without a cgroup namespace sees its full group in /proc/self/cgroup, but has only
  // its own part of the hierarchy mounted.
  if (mount.top != "/") {
    const bool below = group.starts_with(mount.top) &&
                       (group.size() == mount.top.size() || group[mount.top.size()] == '/');
    group = below ? group.substr(mount.top.size()) : "";
  }
  // "/../x": outside of our namespace. Then we use what is mounted.
  if (group.find("/..") != std::string::npos) {
    group.clear();
  }
  std::vector<std::string> folders;
  while (!group.empty() && group != "/") {
    folders.push_back(mount.mount_point + group);
    group.resize(group.rfind('/') == std::string::npos ? 0 : group.rfind('/'));
  }
  folders.push_back(mount.mount_point);
  return folders;
}

// Calls visit(version2, folder) for every folder that may hold a limit of `controller` for us.
template <class Visit>
void VisitGroups(const std::string& root, std::string_view controller, const Visit& visit) {
  const std::vector<CgroupMount> mounts = CgroupMounts(root);
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {  // ID:CONTROLLERS:GROUP
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) {
      continue;
    }
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool version2 = controllers.empty();
    if (!version2 && !ListContains(controllers, controller)) {
      continue;
    }
    for (const CgroupMount& mount : mounts) {
      if (mount.version2 != version2 ||
          (!version2 && !ListContains(mount.controllers, controller))) {
        continue;
      }
      for (const std::string& folder : FoldersUpwards(mount, line.substr(second + 1))) {
        visit(version2, folder);
      }
    }
  }
}

std::optional<uint64_t> ParseNumber(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;  // "max" and "-1": no limit
  }
  return value;
}

std::vector<std::string> WordsOfFile(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return SplitWords(line);
}

std::optional<uint64_t> NumberInFile(const std::string& path) {
  const std::vector<std::string> words = WordsOfFile(path);
  return words.size() == 1 ? ParseNumber(words[0]) : std::nullopt;
}

// How many processors' time the group may use.
std::optional<double> CpuQuota(bool version2, const std::string& folder) {
  std::optional<uint64_t> quota_us;
  std::optional<uint64_t> period_us;
  if (version2) {
    const std::vector<std::string> words = WordsOfFile(folder + "/cpu.max");
    if (words.size() == 2) {
      quota_us = ParseNumber(words[0]);
      period_us = ParseNumber(words[1]);
    }
  } else {
    quota_us = NumberInFile(folder + "/cpu.cfs_quota_us");
    period_us = NumberInFile(folder + "/cpu.cfs_period_us");
  }
  if (!quota_us || !period_us || *quota_us == 0 || *period_us == 0) {
    return std::nullopt;
  }
  return static_cast<double>(*quota_us) / static_cast<double>(*period_us);
}

unsigned ProcessorsInMask() {
  // The mask may be larger than cpu_set_t, for 1024 processors; the kernel says EINVAL then.
  for (size_t count = 1024; count <= size_t{1} << 20; count *= 4) {
    const size_t bytes = CPU_ALLOC_SIZE(count);
    cpu_set_t* mask = CPU_ALLOC(count);
    if (mask == nullptr) {
      break;
    }
    const bool ok = sched_getaffinity(0, bytes, mask) == 0;
    const int found = ok ? CPU_COUNT_S(bytes, mask) : 0;
    CPU_FREE(mask);
    if (ok) {
      return static_cast<unsigned>(std::max(found, 1));
    }
  }
  return static_cast<unsigned>(std::max(sysconf(_SC_NPROCESSORS_ONLN), 1L));
}

}  // namespace

uint64_t UsableMemory(const std::string& root) {
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long page_bytes = sysconf(_SC_PAGESIZE);
  uint64_t usable =
      static_cast<uint64_t>(std::max(pages, 1L)) * static_cast<uint64_t>(std::max(page_bytes, 1L));
  VisitGroups(root, "memory", [&usable](bool version2, const std::string& folder) {
    // Above memory.high a group is slowed down until it gives memory back. For a cache that is as
    // bad as a limit.
    const std::vector<const char*> names =
        version2 ? std::vector<const char*>{"/memory.max", "/memory.high"}
                 : std::vector<const char*>{"/memory.limit_in_bytes"};
    for (const char* name : names) {
      if (const std::optional<uint64_t> limit = NumberInFile(folder + name)) {
        usable = std::min(usable, *limit);
      }
    }
  });
  return usable;
}

unsigned UsableProcessors(const std::string& root) {
  unsigned usable = ProcessorsInMask();
  VisitGroups(root, "cpu", [&usable](bool version2, const std::string& folder) {
    if (const std::optional<double> quota = CpuQuota(version2, folder)) {
      // The comparison comes first: a quota of millions of processors must not reach the cast.
      if (std::ceil(*quota) < static_cast<double>(usable)) {
        usable = static_cast<unsigned>(std::max(std::ceil(*quota), 1.0));
      }
    }
  });
  return usable;
}

uint64_t UsableMemory() { return UsableMemory(""); }

unsigned UsableProcessors() { return UsableProcessors(""); }

std::string TemporaryFolder() {
  const char* const folder = std::getenv("TMPDIR");
  return folder != nullptr && folder[0] == '/' ? folder : "/var/tmp";
}

uint64_t FreeSpace(const std::string& folder) {
  struct statvfs st = {};
  if (statvfs(folder.c_str(), &st) != 0) {
    return 0;
  }
  // No file system has more than 2^63 bytes.
  const uint64_t unit = std::max<uint64_t>(st.f_frsize, 1);
  return std::min<uint64_t>(st.f_bavail, (uint64_t{1} << 63) / unit) * unit;
}

uint64_t RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
    return 1024;
  }
  const rlim_t soft = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
    return soft;
  }
  return limit.rlim_cur;
}

std::string BootId() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
}

}  // namespace xzfs
