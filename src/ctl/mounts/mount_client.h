// A mount of xzfs, seen from outside: its figures and its commands.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ctl/shell/json.h"
#include "xzfs/result.h"

namespace xzfs {

// Asks through the attributes user.xzfs.*, which src/control answers. Thread-safe. An answer is
// checked to be a JSON object, but not what is in it: use value() with a default.
class MountClient {
 public:
  // `path`: the top of a mount. Errors: EINVAL if it isn't, ENOTCONN if the mount's daemon is gone,
  // what the system says.
  static Result<MountClient> Open(const std::string& path);

  const std::string& path() const { return path_; }

  Result<Json> Stats() const;
  Result<Json> History() const;

  // Gives the mount a command. Errors: what the mount answers, and what the request fails with.
  // Blocks until it's done.
  Status Command(const std::string& command) const;

 private:
  explicit MountClient(std::string path) : path_(std::move(path)) {}
  Result<Json> Read(const std::string& key) const;

  std::string path_;
};

// What was read from a mount during one interval.
struct Moment {
  double begin = 0;  // seconds since 1970
  double seconds = 0;
  double reads = 0, hits = 0, misses = 0, served_bytes = 0;
  double p50_us = 0, p99_us = 0;  // half of the reads took at most this, and 99 % of them
};

// What History says, oldest first.
std::vector<Moment> MomentsOf(const Json& history);

// What `user.xzfs.info` of a file says, or nothing if it is in no mount of xzfs.
std::optional<Json> FileInfo(const std::string& path);

// The path of the mount `path` as the mount table has it: absolute and without symlinks. It doesn't
// ask the mount itself, which may not answer. Returns `path` if it can't tell.
std::string MountpointOf(const std::string& path);

// The mounts of xzfs that this process sees, by their mountpoints, without those that are hidden by
// others. Sends no request to any of them.
std::vector<std::string> AllMounts();
// `named`, or all mounts if none is named. Errors: ENOENT if there is none.
Result<std::vector<std::string>> NamedOrAllMounts(const std::vector<std::string>& named);
// `named`, or the only mount if it is empty. Errors: ENOENT, EINVAL if there are several.
Result<std::string> NamedOrOnlyMount(const std::string& named);

// The absolute path without symlinks; nothing, with errno set, if there is no such file.
std::optional<std::string> RealPath(const std::string& path);

// Where what is shown as `path` in a mount of xzfs is stored; nothing if that can't be told. It may
// be hidden below the mount.
std::optional<std::string> StoredPath(const std::string& path);

// Whether `fd`, a file or a directory, is in a mount of xzfs.
bool IsInMount(int fd);
// EINVAL, for `command`, which works on stored files only: `path` is in a mount. Says what to type
// instead.
Error InMountError(const std::string& path, const std::string& command);

// The number at `pointer` ("/cache/hits") in a mount's answer; 0 if there is none.
double NumberAt(const Json& json, const std::string& pointer);

}  // namespace xzfs
