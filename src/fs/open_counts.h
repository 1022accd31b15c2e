// Which nodes have open file handles.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "base/identity.h"
#include "base/mutex.h"
#include "fs/node_table.h"

namespace xzfs {

// Thread-safe. Only nodes that the table knows are counted.
class OpenCounts {
 public:
  // `nodes` outlives it.
  explicit OpenCounts(NodeTable& nodes) : nodes_(nodes) {}

  // Counts a file handle. Returns whether the stored file's identity is what it was at the node's
  // last open, so that what the kernel cached then is still good.
  bool Add(NodeId id, const Identity& identity) EXCLUDES(mutex_);
  // Takes a file handle back. Returns whether it was the last one.
  bool Remove(NodeId id) EXCLUDES(mutex_);
  bool IsOpen(NodeId id) EXCLUDES(mutex_);
  // The table doesn't know the node any more.
  void Forget(NodeId id) EXCLUDES(mutex_);

 private:
  struct Count {
    uint64_t handles = 0;
    Identity identity;  // at the last open
  };

  NodeTable& nodes_;
  Mutex mutex_;
  // Of each node that was opened. It stays after the last handle, for the identity.
  std::unordered_map<NodeId, Count> counts_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
