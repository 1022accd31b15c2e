// The plain files that the next mount has to commit.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/os.h"
#include "xzfs/result.h"

namespace xzfs {

// The file `pending` in a session's folder: docs/format.md, "Hints". It is not synced: without it a
// file only stays plain. Thread-safe.
class PendingPaths {
 public:
  static constexpr const char* kName = "pending";
  using Paths = std::function<std::vector<std::string>()>;

  // `folder`, the session's, is open as long as this lives. `path`: of that folder, for messages.
  PendingPaths(Os& os, int folder, std::string path)
      : os_(os), folder_(folder), path_(std::move(path)) {}

  // Adds a path. If the file is large and most of it is of no use any more, it is written again:
  // then `alive` is called, while no path can be added, and returns the paths that are still of
  // use.
  Status Note(const std::string& path, const Paths& alive) EXCLUDES(mutex_);
  // Keeps only the paths that `alive` returns, if `idle` says that no others are of use.
  void KeepIf(const std::function<bool()>& idle, const Paths& alive) EXCLUDES(mutex_);
  // The paths that an earlier process left. Empty if there is no file.
  Result<std::vector<std::string>> Read() const;
  // There are paths that no process has taken over, or we can't know.
  bool HasAny() const;
  void Remove() EXCLUDES(mutex_);

 private:
  // A list of this size costs next to nothing.
  static constexpr uint64_t kLeastRewriteBytes = uint64_t{1} << 20;

  Status Rewrite(const std::vector<std::string>& paths) REQUIRES(mutex_);

  Os& os_;
  const int folder_;
  const std::string path_;
  Mutex mutex_;
  Descriptor file_ GUARDED_BY(mutex_);
  uint64_t bytes_ GUARDED_BY(mutex_) = 0;
  uint64_t rewrite_at_ GUARDED_BY(mutex_) = kLeastRewriteBytes;
};

}  // namespace xzfs
