// Which files are edited.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/identity.h"
#include "base/mutex.h"
#include "fs/file_state.h"
#include "fs/node_tree.h"
#include "fs/zones.h"

namespace xzfs {

// Files with an overlay, by the identity of the base; and files that were overwritten half way.
// Thread-safe.
class EditedFiles {
 public:
  explicit EditedFiles(NodeTree& tree) : tree_(tree), nodes_(tree.nodes()) {}

  // Keeps the node until its overlay is detached. REQUIRES: the caller has counted a lookup for
  // that.
  void Attach(const Node& node, FileState& state, std::shared_ptr<Overlay> overlay,
              std::shared_ptr<Session> session, ZonePtr zone) REQUIRES(state.mutex)
      EXCLUDES(mutex_);
  // The node loses its overlay, and is not kept for it any more.
  void Detach(NodeId id, FileState& state) REQUIRES(state.mutex) EXCLUDES(mutex_);
  // The same, and removes the stored overlay.
  void Drop(NodeId id, FileState& state) REQUIRES(state.mutex) EXCLUDES(mutex_);
  // The node is not kept for its overlay any more; the overlay, if there is one, ends with the
  // node.
  void Release(NodeId id, FileState& state) REQUIRES(state.mutex) EXCLUDES(mutex_);

  // The node of a stored file that has an overlay, even if another program has changed the file's
  // mode or name. Null: there is none.
  NodePtr Find(const Identity& identity) EXCLUDES(mutex_);
  bool HasAny() EXCLUDES(mutex_);
  std::vector<NodeId> All() EXCLUDES(mutex_);

  // Overwriting the file in place failed half way. The next mount completes that, and would undo
  // any change made before.
  void NoteHalfOverwritten(const FileId& file) EXCLUDES(mutex_);
  bool IsHalfOverwritten(const FileId& file) EXCLUDES(mutex_);
  static Failure<> FailHalfOverwritten(const std::string& path);

 private:
  void Forget(NodeId id, const FileId& file) EXCLUDES(mutex_);

  NodeTree& tree_;
  NodeTable& nodes_;
  Mutex mutex_;
  std::unordered_map<FileId, NodeId, FileIdHash> edited_ GUARDED_BY(mutex_);
  std::unordered_set<FileId, FileIdHash> half_overwritten_ GUARDED_BY(mutex_);
  std::atomic<bool> has_half_overwritten_{false};
};

}  // namespace xzfs
