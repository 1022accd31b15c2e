#include "main/lazy_unmount.h"

#include <spawn.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <vector>

namespace xzfs {
namespace {

// As mountinfo writes a path.
std::string EscapeAsMountinfo(const std::string& path) {
  std::string escaped;
  for (const char c : path) {
    if (c == ' ' || c == '\t' || c == '\n' || c == '\\') {
      char octal[5];
      std::snprintf(octal, sizeof octal, "\\%03o", static_cast<unsigned>(c));
      escaped += octal;
    } else {
      escaped += c;
    }
  }
  return escaped;
}

// True if the uppermost mount there is of our type.
bool IsXzfsMount(const std::string& mountpoint) {
  const std::string wanted = EscapeAsMountinfo(mountpoint);
  bool ours = false;
  std::ifstream table("/proc/self/mountinfo");
  for (std::string line; std::getline(table, line);) {
    // id parent device root MOUNTPOINT options [optional...] - TYPE ...
    std::istringstream words(line);
    std::string word;
    std::string path;
    for (int i = 0; i < 5 && words >> word; ++i) {
      path = word;
    }
    if (path != wanted) {
      continue;
    }
    while (words >> word && word != "-") {
    }
    words >> word;
    ours = word == "fuse.xzfs";
  }
  return ours;
}

bool RunFusermount(const std::string& mountpoint) {
  std::string path = mountpoint;
  char program[] = "fusermount3";
  char options[] = "-uqz";
  char end_of_options[] = "--";
  char* argv[] = {program, options, end_of_options, path.data(), nullptr};
  pid_t child = 0;
  if (posix_spawnp(&child, program, nullptr, nullptr, argv, environ) != 0) {
    return false;
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

bool LazyUnmount(const std::string& mountpoint) {
  if (!IsXzfsMount(mountpoint)) {
    return false;
  }
  return umount2(mountpoint.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0 ||
         (geteuid() != 0 && RunFusermount(mountpoint));
}

bool LazyUnmountIfStale(const std::string& mountpoint) {
  // statfs always asks the daemon; what stat answers the kernel may still have cached.
  struct statfs st;
  return statfs(mountpoint.c_str(), &st) != 0 && errno == ENOTCONN && LazyUnmount(mountpoint);
}

}  // namespace xzfs
