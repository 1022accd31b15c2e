#include "ctl/report/report_place.h"

#include <limits.h>
#include <unistd.h>

#include <cstdlib>
#include <ctime>
#include <memory>
#include <optional>
#include <utility>

#include "base/mount_table.h"

namespace xzfs {
namespace {

std::string Now() {
  const time_t now = time(nullptr);
  struct tm parts = {};
  localtime_r(&now, &parts);
  char text[64];
  return std::string(text, strftime(text, sizeof text, "%F %H:%M", &parts));
}

std::string HostName() {
  char name[HOST_NAME_MAX + 1] = {};
  return gethostname(name, sizeof name - 1) == 0 ? name : "this machine";
}

// Whether `path` is `folder` or below it; both are absolute.
bool IsWithin(const std::string& path, const std::string& folder) {
  return path == folder || folder == "/" || path.starts_with(folder + "/");
}

}  // namespace

ReportPlace PlaceOf(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> real(realpath(path.c_str(), nullptr),
                                                         &std::free);
  ReportPlace place{.path = real == nullptr ? path : real.get(), .host = HostName(), .date = Now()};
  place.stored_path = place.path;
  // The innermost mount is the last one in the table that has the path in it.
  std::optional<MountEntry> mount;
  for (MountEntry& entry : ReadMountTable()) {
    if (IsWithin(place.path, entry.mountpoint)) {
      mount = std::move(entry);
    }
  }
  if (mount && mount->is_xzfs()) {
    place.is_covered =
        !mount->source.starts_with('/') || IsWithin(mount->source, mount->mountpoint);
    if (!place.is_covered) {
      place.stored_path = mount->source + place.path.substr(mount->mountpoint.size());
    }
  }
  return place;
}

}  // namespace xzfs
