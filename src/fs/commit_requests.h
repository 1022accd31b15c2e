// Requests to commit files.
#pragma once

#include <atomic>
#include <cstdint>
#include <unordered_set>

#include "base/mutex.h"
#include "fs/committer.h"
#include "fs/file_state.h"
#include "fs/node_tree.h"

namespace xzfs {

struct Options;
class PendingNotes;
class PlainRules;

// Passes requests to the Committer's queue. Thread-safe.
class CommitRequests {
 public:
  CommitRequests(const Options& options, const PlainRules& rules, NodeTree& tree,
                 PendingNotes& pending, Committer& committer)
      : options_(options),
        rules_(rules),
        tree_(tree),
        nodes_(tree.nodes()),
        pending_(pending),
        committer_(committer) {}

  // Queues a file whose last writer has closed it.
  void Queue(const NodePtr& node, CommitFor whom = CommitFor::kNobody);
  void CommitNow(NodeId id, const Committer::Done& done);
  // Whether a commit found that this version of a plain file would not shrink.
  bool IsUnshrinkable(const NodePtr& node);
  // So many bytes were written to a plain file, which no program has open for writing any more.
  void NoteWritten(const NodePtr& node, uint64_t bytes);
  // The file is removed.
  void NoteRemoved(const Node& node);
  // An operation has ended one reason for which a plain file was left plain. Queues the file if no
  // rule keeps it plain now. REQUIRES: no lock is held.
  void QueueFreed(NodeId id);

  // Remembers files whose writing handles are all closing.
  void NoteClosing(NodeId id, const FileState& state) REQUIRES(state.mutex) EXCLUDES(mutex_);
  // Queues those files: for a program that waits for all commits, they count as closed.
  void QueueClosing() EXCLUDES(mutex_);

  // From now on no commit begins. The caller sets this before it looks for commits to cancel. A
  // commit checks it under the file's mutex, under which it also registers its job.
  void Park() { is_parking_ = true; }
  bool is_parking() const { return is_parking_; }

 private:
  uint64_t PlainSize(const NodePtr& node);

  const Options& options_;
  const PlainRules& rules_;
  NodeTree& tree_;
  NodeTable& nodes_;
  PendingNotes& pending_;
  Committer& committer_;
  std::atomic<bool> is_parking_{false};
  Mutex mutex_;
  std::unordered_set<NodeId> closing_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
