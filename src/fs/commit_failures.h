// Files that should be committed and are not, and why.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "fs/node.h"

namespace xzfs {

// When a commit that failed is tried again. kNever: not until the file changes or the source is
// mounted again.
enum class NextTry { kLater, kNever };

// The log, the figures and programs that wait for commits report these. Thread-safe.
class CommitFailures {
 public:
  struct Failure {
    NodeId node = 0;
    int code = 0;
    std::string message;  // with the file's path
    // There is no further attempt until the file changes or the source is mounted again. If false,
    // the file waits for its next attempt.
    bool is_given_up = false;
  };

  // Replaces the node's earlier entry, and returns it.
  std::optional<Failure> Note(Failure failure) EXCLUDES(mutex_);
  // Removes the node's entry, and returns it.
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
