// Overlays whose base was not found yet.
#pragma once

#include <atomic>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/identity.h"
#include "base/mutex.h"
#include "fs/node_tree.h"
#include "fs/zones.h"

namespace xzfs {

class Committer;
class EditedFiles;

// Overlays in zones that were met while the mount runs. A lookup of the base attaches its overlay,
// wherever the base is; a search in the background settles all others (ZoneRecovery). Thread-safe.
class Orphans {
 public:
  Orphans(NodeTree& tree, EditedFiles& edited, Committer& committer)
      : tree_(tree), nodes_(tree.nodes()), edited_(edited), committer_(committer) {}

  void Add(std::vector<Orphan> orphans) EXCLUDES(mutex_);
  std::vector<Orphan> Of(const ZonePtr& zone) EXCLUDES(mutex_);
  // Removes it. False if another thread has just taken it.
  bool Take(const Orphan& orphan) EXCLUDES(mutex_);
  bool has_any() const { return has_orphans_; }
  // Gives a node that was just looked up its overlay, if one waits for it. If several threads look
  // it up at once, all get it with its overlay: a thread that doesn't find it here finds it in the
  // node's state.
  NodePtr Attach(const NodePtr& node) EXCLUDES(mutex_);

  // A directory was renamed: a running search may have missed a base in it.
  void NoteMove() { ++directory_moves_; }
  uint64_t directory_moves() const { return directory_moves_; }

 private:
  NodeTree& tree_;
  NodeTable& nodes_;
  EditedFiles& edited_;
  Committer& committer_;
  Mutex mutex_;
  std::unordered_multimap<FileId, Orphan, FileIdHash> orphans_ GUARDED_BY(mutex_);
  std::atomic<bool> has_orphans_{false};
  std::atomic<uint64_t> directory_moves_{0};
};

}  // namespace xzfs
