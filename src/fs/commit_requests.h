// Which files are to be committed.
#pragma once

#include <atomic>
#include <cstdint>
#include <unordered_set>

#include "base/mutex.h"
#include "fs/committer.h"
#include "fs/file_state.h"
#include "fs/node_tree.h"
#include "fs/options.h"

namespace xzfs {

// What is asked of the queue. Thread-safe.
class CommitRequests {
 public:
  CommitRequests(const Options& options, NodeTree& tree, Committer& committer)
      : options_(options), tree_(tree), nodes_(tree.nodes()), committer_(committer) {}

  // A file whose last writer is gone.
  void Queue(const NodePtr& node, bool is_awaited = false);
  void CommitNow(NodeId id, const Committer::Done& done);

  // Remembers files of which every handle that may write is closing.
  void NoteClosing(NodeId id, const FileState& state) REQUIRES(state.mutex) EXCLUDES(mutex_);
  // For a program that waits for all commits: they are as good as closed.
  void QueueClosing() EXCLUDES(mutex_);

  // No commit begins any more. Set before it's looked for commits to cancel; looked at under the
  // mutex of the file under which its commit is made known.
  void Park() { is_parking_ = true; }
  bool is_parking() const { return is_parking_; }

 private:
  uint64_t PlainSize(const NodePtr& node);

  const Options& options_;
  NodeTree& tree_;
  NodeTable& nodes_;
  Committer& committer_;
  std::atomic<bool> is_parking_{false};
  Mutex mutex_;
  std::unordered_set<NodeId> closing_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
