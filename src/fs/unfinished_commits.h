// What a commit has left beside a plain file.
#pragma once

#include "base/os.h"
#include "fs/file_state.h"
#include "fs/node_tree.h"
#include "store/source_dir.h"
#include "store/stored_key.h"
#include "xzfs/result.h"

namespace xzfs {

// The `N.xz` beside a plain `N` that is one file with it, for as long as a commit takes or until
// what one has left is noticed: before the plain file changes or goes, the other must. Thread-safe.
class UnfinishedCommits {
 public:
  UnfinishedCommits(NodeTree& tree, Os& os) : tree_(tree), twins_(tree.twins()), os_(os) {}

  // A commit that is at work gives up, and what it has published already beside the plain file
  // goes.
  Status Cancel(const NodePtr& node, FileState& state) REQUIRES(state.mutex);
  // Removes the `.xz` beside a plain file, if it is that one.
  Status RemoveTwin(const NodePtr& node, const StoredKey& twin);
  // Removes the twin of a plain file that is about to go: it would be shown in its place.
  Status RemoveHidden(int dir, const StoredEntry& entry);

 private:
  NodeTree& tree_;
  ZoneTwins& twins_;
  Os& os_;
};

}  // namespace xzfs
