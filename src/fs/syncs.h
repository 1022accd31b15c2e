// Syncing files, and handling files that could not be synced.
#pragma once

#include "base/os.h"
#include "fs/node_tree.h"
#include "xzfs/result.h"

namespace xzfs {

class EditedFiles;
struct Options;
struct Stats;

// Thread-safe. All methods block until the data is on the disk.
class Syncs {
 public:
  Syncs(const Options& options, NodeTree& tree, EditedFiles& edited, Stats& stats, Os& os)
      : options_(options),
        tree_(tree),
        nodes_(tree.nodes()),
        namespace_(tree.namespace_lock()),
        edited_(edited),
        stats_(stats),
        os_(os) {}

  Status Sync(NodeId id, SyncScope scope);
  Status SyncNode(const NodePtr& node, SyncScope scope) EXCLUDES(namespace_);
  Status SyncDirectory(NodeId node);
  // Brings the name of a file to the disk, on file systems that may keep a later change and lose
  // the name.
  Status SyncName(const NodePtr& node) EXCLUDES(namespace_);
  // Syncs all overlays, because uncommitted changes must survive a reboot.
  void SyncOverlays();

 private:
  void NoteSyncFailed(const NodePtr& node, const Error& error);

  const Options& options_;
  NodeTree& tree_;
  NodeTable& nodes_;
  SharedMutex& namespace_;
  EditedFiles& edited_;
  Stats& stats_;
  Os& os_;
};

}  // namespace xzfs
