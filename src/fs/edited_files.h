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

// Files with an overlay, by what it is laid over; and those that were overwritten half way.
// Thread-safe.
class EditedFiles {
 public:
  explicit EditedFiles(NodeTree& tree) : tree_(tree), nodes_(tree.nodes()) {}

  // The node stays until its overlay is detached. REQUIRES: a lookup is counted for that.
  void Attach(const Node& node, FileState& state, std::shared_ptr<Overlay> overlay,
              std::shared_ptr<Session> session, ZonePtr zone) REQUIRES(state.mutex)
      EXCLUDES(mutex_);
  // The node is not kept for its overlay any more, and has none.
  void Detach(NodeId id, FileState& state) REQUIRES(state.mutex) EXCLUDES(mutex_);
  // The same, and what is stored of the overlay is removed.
  void Drop(NodeId id, FileState& state) REQUIRES(state.mutex) EXCLUDES(mutex_);
  // The overlay, if there is one, ends with the node.
  void Release(NodeId id, FileState& state) REQUIRES(state.mutex) EXCLUDES(mutex_);

  // The node of a stored file that has an overlay, though somebody else has changed its mode or
  // given it another name. Null: there is none.
  NodePtr Find(const Identity& identity) EXCLUDES(mutex_);
  bool HasAny() EXCLUDES(mutex_);
  std::vector<NodeId> All() EXCLUDES(mutex_);

  // An overwrite of the file in its place failed half way: the next mount completes it, and would
  // undo what was changed by then.
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
