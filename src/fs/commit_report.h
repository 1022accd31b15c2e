// What can't be committed, and who is told.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "fs/commit_failures.h"
#include "fs/commit_requests.h"
#include "fs/file_figures.h"
#include "fs/node_tree.h"
#include "fs/pending_notes.h"
#include "xzfs/result.h"

namespace xzfs {

// Files whose changes should be compressed and are not. A file that was given up stays known, since
// its path is to be told. Thread-safe.
class CommitReport {
 public:
  CommitReport(NodeTree& tree, PendingNotes& pending, CommitRequests& requests,
               CommitFailures& failures)
      : tree_(tree),
        nodes_(tree.nodes()),
        pending_(pending),
        requests_(requests),
        failures_(failures) {}

  // Returns whether that was not known of the file.
  bool Note(NodeId id, const Error& error, bool is_given_up);
  void Clear(NodeId id);
  std::optional<CommitFailures::Failure> Find(NodeId id) { return failures_.Find(id); }

  // At most `most` of them.
  std::vector<Uncommitted> Files(size_t most);
  size_t count() { return failures_.count(); }
  size_t given_up() { return failures_.given_up(); }

  // Somebody waits for commits: what stood in the way of files that were given up may be gone.
  void RetryGivenUp();
  // What is left counts, too: a program that waits is not to be told that all is well.
  Status WithUncommitted(const Status& synced);

 private:
  NodeTree& tree_;
  NodeTable& nodes_;
  PendingNotes& pending_;
  CommitRequests& requests_;
  CommitFailures& failures_;
};

}  // namespace xzfs
