#include "base/unmount.h"

#include <spawn.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <sstream>

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

// Of the options that FUSE has in the mount table.
uid_t UserOf(const std::string& options) {
  constexpr std::string_view kKey = "user_id=";
  uid_t user = 0;
  if (const size_t at = options.find(kKey); at != std::string::npos) {
    std::from_chars(options.data() + at + kKey.size(), options.data() + options.size(), user);
  }
  return user;
}

}  // namespace

std::optional<MountEntry> FindXzfsMount(const std::string& mountpoint) {
  const std::string wanted = EscapeAsMountinfo(mountpoint);
  std::optional<MountEntry> found;
  std::ifstream table("/proc/self/mountinfo");
  for (std::string line; std::getline(table, line);) {
    // id parent device root MOUNTPOINT options [optional...] - TYPE source OPTIONS
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
    std::string type;
    std::string source;
    std::string options;
    words >> type >> source >> options;
    found = type == "fuse.xzfs" ? std::optional(MountEntry{UserOf(options)}) : std::nullopt;
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

bool LazyUnmount(const std::string& mountpoint) {
  if (!FindXzfsMount(mountpoint)) {
    return false;
  }
  return umount2(mountpoint.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0 ||
         (geteuid() != 0 && RunFusermount("-uqz", mountpoint));
}

bool LazyUnmountIfStale(const std::string& mountpoint) {
  // statfs always asks the daemon; what stat answers the kernel may still have cached.
  struct statfs st;
  return statfs(mountpoint.c_str(), &st) != 0 && errno == ENOTCONN && LazyUnmount(mountpoint);
}

}  // namespace xzfs
