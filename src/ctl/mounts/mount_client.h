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

// Whether `fd`, a file or a directory, is in a mount of xzfs.
bool IsInMount(int fd);
// EINVAL, for a command that works on stored files: `path` is in a mount, which shows other ones.
Error InMountError(const std::string& path);

// The number at `pointer` ("/cache/hits") in a mount's answer; 0 if there is none.
double NumberAt(const Json& json, const std::string& pointer);

}  // namespace xzfs
