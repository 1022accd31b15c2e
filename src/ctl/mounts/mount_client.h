// A mount of xzfs, seen from outside: its figures and its commands.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ctl/shell/json.h"
#include "xzfs/result.h"

namespace xzfs {

// Asks by the attributes user.xzfs.* that src/control answers. Thread-safe. What comes from a mount
// is checked to be JSON and nothing else: use value() with a default.
class MountClient {
 public:
  // `path`: the top of a mount. Errors: EINVAL if it is none, ENOTCONN if its daemon is gone, what
  // the system said.
  static Result<MountClient> Open(const std::string& path);

  const std::string& path() const { return path_; }

  Result<Json> Stats() const;
  Result<Json> History() const;

  // Errors: what the mount answered, or the error that it gave. Blocks until it's done.
  Status Command(const std::string& command) const;

 private:
  explicit MountClient(std::string path) : path_(std::move(path)) {}
  Result<Json> Read(const std::string& key) const;

  std::string path_;
};

// What was read from a mount in a part of its life.
struct Moment {
  double begin = 0;  // seconds since 1970
  double seconds = 0;
  double reads = 0, hits = 0, misses = 0, served_bytes = 0;
  double p50_us = 0, p99_us = 0;  // so long took half of the reads, and all but a hundredth
};

// What History says, oldest first.
std::vector<Moment> MomentsOf(const Json& history);

// What `user.xzfs.info` of a file says, or nothing if it is in no mount of xzfs.
std::optional<Json> FileInfo(const std::string& path);

// The absolute path of `path` without symlinks, as the mount table has it, without a look at the
// mount itself, which may not answer; `path` if that can't be told.
std::string MountpointOf(const std::string& path);

// Whether `fd`, a file or a directory, is in a mount of xzfs.
bool IsInMount(int fd);
// Of commands for stored files, which `path` in a mount shows as others: EINVAL.
Error InMountError(const std::string& path);

// The number at `pointer` ("/cache/hits") of what a mount told; 0 if there is none.
double NumberAt(const Json& json, const std::string& pointer);

}  // namespace xzfs
