// Keeping repeated findings out of the log.
#pragma once

#include <cstddef>
#include <string>
#include <unordered_set>

#include "base/log.h"
#include "base/mutex.h"

namespace xzfs {

// Logs each finding once, however often it is found again. Remembers a bounded number of findings;
// later ones are not logged. Thread-safe.
class ReportOnce {
 public:
  // If there are more findings than these, that is the state of the source, not an accident.
  static constexpr size_t kUsualMost = 1000;

  explicit ReportOnce(size_t most = kUsualMost) : most_(most) {}

  // Logs `message` unless `key` was reported before. Returns whether it is new.
  bool Report(LogLevel level, const std::string& key, const std::string& message) EXCLUDES(mutex_) {
    bool last = false;
    {
      MutexLock lock(mutex_);
      if (seen_.size() >= most_ || !seen_.insert(key).second) {
        return false;
      }
      last = seen_.size() == most_;
    }
    Log(level, message);
    if (last) {
      Log(level, "there may be more like this: they are not logged until the next mount");
    }
    return true;
  }

 private:
  const size_t most_;
  Mutex mutex_;
  std::unordered_set<std::string> seen_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
