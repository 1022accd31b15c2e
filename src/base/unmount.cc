#include "base/unmount.h"

#include <spawn.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/fail.h"

namespace xzfs {

std::optional<MountEntry> FindXzfsMount(const std::string& mountpoint) {
  std::optional<MountEntry> found;
  for (MountEntry& entry : ReadMountTable()) {
    if (entry.mountpoint == mountpoint) {
      found = entry.is_xzfs() ? std::optional(std::move(entry)) : std::nullopt;
    }
  }
  return found;
}

Status RunFusermount(const char* letters, const std::string& mountpoint) {
  std::string options = letters;
  std::string path = mountpoint;
  char program[] = "fusermount3";
  char end_of_options[] = "--";
  char* argv[] = {program, options.data(), end_of_options, path.data(), nullptr};
  pid_t child = 0;
  if (const int error = posix_spawnp(&child, program, nullptr, nullptr, argv, environ);
      error != 0) {
    return FailErrno(error, "fusermount3 (package fuse3)");
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  const bool done = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  return done ? Status() : Fail(EBUSY, path + " was not unmounted");
}

bool UnmountUnused(const std::string& mountpoint, dev_t device) {
  const auto uppermost = FindXzfsMount(mountpoint);
  if (!uppermost || uppermost->device != device) {
    return false;
  }
  return umount2(mountpoint.c_str(), UMOUNT_NOFOLLOW) == 0 ||
         (errno == EPERM && RunFusermount("-uq", mountpoint));
}

bool LazyUnmount(const std::string& mountpoint) {
  if (!FindXzfsMount(mountpoint)) {
    return false;
  }
  return umount2(mountpoint.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0 ||
         (geteuid() != 0 && RunFusermount("-uqz", mountpoint));
}

bool LazyUnmountIfStale(const std::string& mountpoint) {
  // statfs always asks the daemon; the answer to stat may be in the kernel's cache.
  struct statfs st;
  return statfs(mountpoint.c_str(), &st) != 0 && errno == ENOTCONN && LazyUnmount(mountpoint);
}

}  // namespace xzfs
