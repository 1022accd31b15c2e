#include "main/mount_checks.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <string_view>

namespace xzfs {
namespace {

tl::unexpected<Refusal> Refuse(ExitCode code, std::string message) {
  return tl::unexpected<Refusal>(Refusal{code, std::move(message)});
}

tl::unexpected<Refusal> RefusePath(const std::string& path, const std::string& why) {
  return Refuse(ExitCode::kMountFailed, path + ": " + why);
}

// For ENOTCONN, what every call answers on a mount whose daemon died.
tl::unexpected<Refusal> RefuseStale(const std::string& path) {
  return RefusePath(path,
                    "a mount whose daemon is gone is in the way; take it away first: "
                    "fusermount3 -u " +
                        path + " (as root: umount " + path + ")");
}

tl::unexpected<Refusal> RefuseErrno(int code, const std::string& path, const char* role) {
  if (code == ENOTCONN) {
    return RefuseStale(path);
  }
  return RefusePath(path, std::string(role) + ": " + std::strerror(code));
}

// The absolute path without symlinks, or "" with errno set.
std::string RealPath(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> real(realpath(path.c_str(), nullptr),
                                                         &std::free);
  return real == nullptr ? std::string() : std::string(real.get());
}

bool IsInside(std::string_view inner, std::string_view outer) {
  if (outer == "/") {
    return inner != "/";
  }
  return inner.size() > outer.size() && inner.starts_with(outer) && inner[outer.size()] == '/';
}

// A line of fuse.conf counts when nothing but the word stands on it; '#' begins a comment.
bool UserAllowOther(const std::string& configuration) {
  std::ifstream file(configuration);
  for (std::string line; std::getline(file, line);) {
    line.resize(std::min(line.find('#'), line.size()));
    const size_t begin = line.find_first_not_of(" \t\r");
    const size_t end = line.find_last_not_of(" \t\r");
    if (begin != std::string::npos && line.substr(begin, end - begin + 1) == "user_allow_other") {
      return true;
    }
  }
  return false;
}

bool IsInSearchPath(std::string_view search_path, const std::string& program) {
  while (!search_path.empty()) {
    const size_t colon = search_path.find(':');
    const std::string folder(search_path.substr(0, colon));
    if (!folder.empty() && access((folder + "/" + program).c_str(), X_OK) == 0) {
      return true;
    }
    search_path.remove_prefix(colon == std::string_view::npos ? search_path.size() : colon + 1);
  }
  return false;
}

}  // namespace

tl::expected<MountPaths, Refusal> CheckPaths(const std::string& source,
                                             const std::string& mountpoint) {
  UniqueFd source_fd(open(source.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!source_fd.valid()) {
    return errno == ENOTDIR && access(source.c_str(), F_OK) == 0
               ? RefusePath(source, "not a directory; xzfs mounts directories only")
               : RefuseErrno(errno, source, "the source can't be opened");
  }
  // Opening with O_PATH asks nothing of the file system, and stat may be answered by the kernel:
  // that a mount's daemon is gone is sure to show in statfs only.
  struct statfs mount;
  if (fstatfs(source_fd.get(), &mount) != 0 ||
      faccessat(source_fd.get(), ".", R_OK | X_OK, AT_EACCESS) != 0) {
    return RefuseErrno(errno, source, "the source can't be read");
  }
  const bool is_read_only = (mount.f_flags & ST_RDONLY) != 0;
  const std::string real_source = RealPath(source);
  if (real_source.empty()) {
    return RefuseErrno(errno, source, "the source can't be resolved");
  }
  const std::string real_mountpoint = RealPath(mountpoint);
  struct stat st;
  if (real_mountpoint.empty() || statfs(real_mountpoint.c_str(), &mount) != 0 ||
      stat(real_mountpoint.c_str(), &st) != 0) {
    return RefuseErrno(errno, mountpoint, "the mountpoint can't be used");
  }
  if (!S_ISDIR(st.st_mode)) {
    return RefusePath(mountpoint, "the mountpoint is not a directory");
  }
  if (IsInside(real_mountpoint, real_source)) {
    return RefusePath(mountpoint, "the mountpoint lies inside the source " + source +
                                      ": the mount would contain itself");
  }
  if (IsInside(real_source, real_mountpoint)) {
    return RefusePath(mountpoint, "the source " + source +
                                      " lies inside the mountpoint: the mount would hide it");
  }
  return MountPaths{std::move(source_fd), real_mountpoint, is_read_only};
}

FuseHost FuseHost::Real() {
  FuseHost host;
  host.user = geteuid();
  // libfuse tries its build's own place first.
  host.search_path = "/usr/bin:/bin";
  if (const char* path = std::getenv("PATH")) {
    host.search_path.append(":").append(path);
  }
  return host;
}

tl::expected<void, Refusal> CheckFuse(const FuseHost& host, bool allow_other) {
  const bool is_root = host.user == 0;
  if (allow_other && !is_root && !UserAllowOther(host.configuration)) {
    return Refuse(ExitCode::kUsage,
                  "allow_other is only for root here: for other users, "
                  "user_allow_other must stand on a line of its own in " +
                      host.configuration);
  }
  const UniqueFd device(open(host.device.c_str(), O_RDWR | O_CLOEXEC));
  if (!device.valid()) {
    const std::string what = host.device + ": " + std::strerror(errno);
    switch (errno) {
      case ENOENT:
      case ENODEV:
      case ENXIO:
        return Refuse(ExitCode::kSystem,
                      what +
                          "; load the kernel's module (modprobe fuse), or pass the device to the "
                          "container (--device /dev/fuse)");
      case EACCES:
      case EPERM:
        return Refuse(ExitCode::kSystem,
                      what +
                          "; this user is not permitted to use FUSE: the device must be readable "
                          "and writable (usually its mode is 0666), in a container it must be "
                          "allowed (--device /dev/fuse)");
      default:
        return Refuse(ExitCode::kSystem, what);
    }
  }
  // Only root may call mount(2); fusermount3 is set-user-ID for the others.
  if (!is_root && !IsInSearchPath(host.search_path, "fusermount3")) {
    return Refuse(ExitCode::kSystem,
                  "fusermount3 is missing, without which only root can mount: install the package "
                  "fuse3");
  }
  return {};
}

Refusal ExplainMountError(const Error& error, const std::string& mountpoint) {
  std::string message = mountpoint + ": the mount failed: " + error.message;
  const bool denied = error.code == EPERM || error.code == EACCES ||
                      error.message.find("not permitted") != std::string::npos ||
                      error.message.find("ermission denied") != std::string::npos;
  if (denied && geteuid() == 0) {
    message += "; mounting needs CAP_SYS_ADMIN, which containers do not have by default";
  } else if (denied && access("/etc/apparmor.d/fusermount3", F_OK) == 0) {
    message +=
        "; AppArmor lets fusermount3 mount in some places only: see "
        "/etc/apparmor.d/local/fusermount3";
  } else if (denied) {
    message += "; the mountpoint must belong to you and be writable, fusermount3 set-user-ID root";
  }
  return {ExitCode::kMountFailed, std::move(message)};
}

}  // namespace xzfs
