// Files whose changes should be compressed and are not, and why.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "fs/node.h"

namespace xzfs {

// What is told of them by the log, the figures, and to a program that waits for commits.
// Thread-safe.
class CommitFailures {
 public:
  struct Failure {
    NodeId node = 0;
    int code = 0;
    std::string message;  // with the file's path
    // Nothing more is tried until the file changes, or its source is mounted again. Else it waits
    // for its next attempt.
    bool is_given_up = false;
  };

  // Takes the place of what was noted of the node. Returns that.
  std::optional<Failure> Note(Failure failure) EXCLUDES(mutex_);
  // Returns what was noted of it.
  std::optional<Failure> Clear(NodeId node) EXCLUDES(mutex_);
  std::optional<Failure> Find(NodeId node) EXCLUDES(mutex_);

  // At most `most` of them.
  std::vector<Failure> First(size_t most) EXCLUDES(mutex_);
  size_t count() EXCLUDES(mutex_);
  size_t given_up() EXCLUDES(mutex_);

 private:
  Mutex mutex_;
  std::map<NodeId, Failure> failures_ GUARDED_BY(mutex_);
  size_t given_up_ GUARDED_BY(mutex_) = 0;
};

}  // namespace xzfs
