// Which files can't be committed, and to whom that is reported.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "fs/commit_failures.h"
#include "fs/file_figures.h"
#include "fs/pending_notes.h"
#include "xzfs/result.h"

namespace xzfs {

class CommitRequests;
class NodeTree;

// Files that should be committed and are not. It keeps the node of a file that was given up,
// because reports need the path. Thread-safe.
class CommitReport {
 public:
  CommitReport(NodeTree& tree, PendingNotes& pending, CommitRequests& requests,
               CommitFailures& failures)
      : tree_(tree),
        nodes_(tree.nodes()),
        pending_(pending),
        requests_(requests),
        failures_(failures) {}

  // kNever: the file was given up; it is tried again when it has changed. Returns whether this is
  // new for the file.
  bool Note(NodeId id, const Error& error, NextTry next);
  void Clear(NodeId id);
  std::optional<CommitFailures::Failure> Find(NodeId id) { return failures_.Find(id); }

  // At most `most` of them.
  std::vector<Uncommitted> Files(size_t most);
  size_t count() { return failures_.count(); }
  size_t given_up() { return failures_.given_up(); }

  // Queues the files that were given up again. A program waits for commits, and the obstacle may be
  // gone.
  void RetryGivenUp();
  // Returns an error if files are left uncommitted, even if `synced` is a success: a waiting
  // program must not get a success then.
  Status WithUncommitted(const Status& synced);

 private:
  NodeTree& tree_;
  NodeTable& nodes_;
  PendingNotes& pending_;
  CommitRequests& requests_;
  CommitFailures& failures_;
};

}  // namespace xzfs
