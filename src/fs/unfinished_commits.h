// What a commit leaves beside a plain file.
#pragma once

#include "fs/file_state.h"
#include "fs/node_tree.h"
#include "xzfs/result.h"

namespace xzfs {

class Os;
struct StoredEntry;
struct StoredKey;

// A twin: the `N.xz` that a running or unfinished commit has put beside a plain `N`. The two are
// one file. Before the plain file changes or is removed the twin must be removed. Thread-safe.
class UnfinishedCommits {
 public:
  UnfinishedCommits(NodeTree& tree, Os& os) : tree_(tree), twins_(tree.twins()), os_(os) {}

  // Makes a running commit give up, and removes the twin that it has published.
  Status Cancel(const NodePtr& node, FileState& state) REQUIRES(state.mutex);
  // Removes the `.xz` beside a plain file, if it is `twin`.
  Status RemoveTwin(const NodePtr& node, const StoredKey& twin);
  // Removes the twin of a plain file that is about to be removed or renamed. Else the mount would
  // show the twin in its place.
  Status RemoveHidden(int dir, const StoredEntry& entry);

 private:
  NodeTree& tree_;
  ZoneTwins& twins_;
  Os& os_;
};

}  // namespace xzfs
