// CheckPaths and CheckFuse run before anything is mounted. They change nothing, and the first thing
// that is wrong is the one that the user reads. The source is opened once, with O_PATH, and the
// mount later uses that descriptor: so what was checked is what is mounted. The source and the
// mountpoint are compared as text, so both are made absolute and free of symlinks first (RealPath).
//
// Conflicts with other mounts are looked for twice. The mount table comes first: it knows the
// mountpoint, so the message can say what to unmount. It lacks the mounts of other containers.
// Those whose source lies above ours are found by their living sessions, in the folders .xzfs from
// our source upwards.
//
// If the mount itself fails nevertheless, ExplainMountError makes the message from what libfuse or
// fusermount3 said.
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
#include <memory>
#include <string_view>

#include "base/os.h"
#include "base/shared_filesystem.h"
#include "frontend/fuse_frontend.h"
#include "store/home.h"

namespace xzfs {
namespace {

Failure<Refusal> Refuse(ExitCode code, std::string message) {
  return Failure<Refusal>(Refusal{code, std::move(message)});
}

Failure<Refusal> RefusePath(const std::string& path, const std::string& why) {
  return Refuse(ExitCode::kMountFailed, path + ": " + why);
}

// For ENOTCONN, which every call on a mount returns after its daemon died.
Failure<Refusal> RefuseStale(const std::string& path) {
  return RefusePath(path, "stale mount: its daemon has exited; run: xzfsctl umount " + path);
}

// `if_missing`: advice if there is no such file.
Failure<Refusal> RefuseErrno(int code, const std::string& path, const char* role,
                             const std::string& if_missing = {}) {
  if (code == ENOTCONN) {
    return RefuseStale(path);
  }
  return RefusePath(path, std::string(role) + ": " + std::strerror(code) +
                              (code == ENOENT && !if_missing.empty() ? "; " + if_missing : ""));
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

}  // namespace

Result<void, Refusal> CheckOtherMounts(const std::string& source, uint64_t source_mount,
                                       const std::string& mountpoint,
                                       const std::vector<MountEntry>& mounts) {
  const auto unmount = [](const MountEntry& mount) {
    return "unmount it first: xzfsctl umount --wait " + mount.mountpoint;
  };
  const MountEntry* covered = nullptr;
  for (const MountEntry& mount : mounts) {
    if (mount.is_xzfs() && mount.id == source_mount && source_mount != 0) {
      return RefusePath(source, std::string(source == mount.mountpoint ? "is" : "lies in") +
                                    " a mount of xzfs (its source is " + mount.source + "); " +
                                    unmount(mount));
    }
    covered = mount.mountpoint == mountpoint ? &mount : covered;
  }
  if (covered != nullptr && covered->is_xzfs() && covered->source == source) {
    return RefusePath(mountpoint, source +
                                      " is already mounted here; to mount it with other "
                                      "options, " +
                                      unmount(*covered));
  }
  for (const MountEntry& mount : mounts) {
    const bool is_below = IsInside(source, mount.source);
    if (mount.is_xzfs() && (is_below || IsInside(mount.source, source))) {
      return RefusePath(source, std::string(is_below ? "lies in " : "contains ") + mount.source +
                                    ", which is mounted on " + mount.mountpoint +
                                    ", and two mounts must not have the same files; " +
                                    (is_below ? "use " + mount.mountpoint +
                                                    source.substr(mount.source.size()) + ", or "
                                              : "") +
                                    unmount(mount));
    }
  }
  return {};
}

namespace {

// The part of CheckPaths for the source.
Result<void, Refusal> LookAtSource(const std::string& source, MountPaths& paths) {
  paths.source.Reset(open(source.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const int fd = paths.source.get();
  if (fd < 0) {
    return errno == ENOTDIR && access(source.c_str(), F_OK) == 0
               ? RefusePath(source,
                            "not a directory; xzfs mounts directories only: give the directory of "
                            "this file")
               : RefuseErrno(errno, source, "the source can't be opened",
                             "give the directory of the stored files first, then the mountpoint");
  }
  // Opening with O_PATH doesn't ask the file system, and the kernel may answer stat. Only statfs
  // surely shows that a mount's daemon has exited.
  struct statfs mount;
  if (fstatfs(fd, &mount) != 0 || faccessat(fd, ".", R_OK | X_OK, AT_EACCESS) != 0) {
    return RefuseErrno(errno, source, "the source can't be read");
  }
  const auto flags = static_cast<unsigned long>(mount.f_flags);
  paths.source_is_read_only = (flags & ST_RDONLY) != 0;
  paths.source_is_nosuid = (flags & ST_NOSUID) != 0;
  paths.source_is_nodev = (flags & ST_NODEV) != 0;
  paths.shared_filesystem = SharedFilesystem(mount.f_type);
  paths.source_name = RealPath(source);
  if (paths.source_name.empty()) {
    return RefuseErrno(errno, source, "the source can't be resolved");
  }
  return {};
}

}  // namespace

Result<MountPaths, Refusal> CheckPaths(const std::string& source, const std::string& mountpoint,
                                       const std::vector<MountEntry>& mounts) {
  MountPaths paths;
  if (auto looked = LookAtSource(source, paths); !looked) {
    return Failure(looked.error());
  }
  paths.mountpoint = RealPath(mountpoint);
  struct stat st;
  struct statfs mount;
  if (paths.mountpoint.empty() || statfs(paths.mountpoint.c_str(), &mount) != 0 ||
      stat(paths.mountpoint.c_str(), &st) != 0) {
    return RefuseErrno(errno, mountpoint, "the mountpoint can't be used",
                       "make it first: mkdir " + mountpoint);
  }
  if (!S_ISDIR(st.st_mode)) {
    return RefusePath(mountpoint, "the mountpoint is not a directory");
  }
  if (IsInside(paths.mountpoint, paths.source_name)) {
    return RefusePath(mountpoint, "the mountpoint lies inside the source " + source +
                                      ": the mount would contain itself");
  }
  if (IsInside(paths.source_name, paths.mountpoint)) {
    return RefusePath(mountpoint, "the source " + source +
                                      " lies inside the mountpoint: the mount would hide it");
  }
  FileFacts facts;
  Os::Real().FactsAt(paths.source.get(), "", &facts);
  if (auto free = CheckOtherMounts(paths.source_name, facts.mount_id, paths.mountpoint, mounts);
      !free) {
    return Failure(free.error());
  }
  // Finds mounts that we don't see, too: those in other containers.
  if (const auto above = FindSourceAbove(Os::Real(), paths.source.get())) {
    return RefusePath(source, "it lies in the source of another running mount (see " + *above +
                                  "/.xzfs): unmount that one first, or use it instead");
  }
  return paths;
}

Result<void, Refusal> CheckFuse(const FuseHost& host, bool allow_other) {
  const bool is_root = host.user == 0;
  if (allow_other && !is_root && !UserAllowOther(host.configuration)) {
    return Refuse(ExitCode::kUsage,
                  "only root may give allow_other here; to let other users give it, add the line "
                  "user_allow_other to " +
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
                          "; this user is not permitted to use FUSE: make the device readable and "
                          "writable (usually its mode is 0666), or pass it to the container "
                          "(--device /dev/fuse)");
      default:
        return Refuse(ExitCode::kSystem, what);
    }
  }
  // Only root may call mount(2); fusermount3 is set-user-ID for the others.
  if (!is_root && FindProgram(host.search_path, "fusermount3").empty()) {
    return Refuse(ExitCode::kSystem,
                  "fusermount3 is missing, and only root can mount without it: install the package "
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
  } else if (denied && !error.message.starts_with(kFusermountRefused)) {
    // Else fusermount3 has just said why, on stderr.
    message += "; the mountpoint must belong to you and be writable";
  }
  return {ExitCode::kMountFailed, std::move(message)};
}

}  // namespace xzfs
