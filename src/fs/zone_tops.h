// Which directories are the tops of zones.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

#include "base/mutex.h"
#include "fs/zones.h"

namespace xzfs {

class NodeTable;

// Also remembers when each directory was last examined for being one. Thread-safe. Only nodes that
// the table knows have an entry.
class ZoneTops {
 public:
  // `nodes` outlives it.
  explicit ZoneTops(NodeTable& nodes) : nodes_(nodes) {}

  // Makes the directory the top of `zone`, unless it is the top of one, and returns the zone that
  // it has then. Null if the node isn't known.
  ZonePtr SetZone(NodeId id, ZonePtr zone) EXCLUDES(mutex_);
  void DropZone(NodeId id) EXCLUDES(mutex_);
  // The nearest zone that the node is the top of, or lies below; `path`, if not null: the node's
  // path below its top, "" for the top itself. Null if the node isn't known.
  ZonePtr ZoneOf(NodeId id, std::string* path = nullptr) EXCLUDES(mutex_);
  // The zone that has the node as its top, or null.
  ZonePtr ZoneAt(NodeId id) EXCLUDES(mutex_);

  // Whether NoteLook was called for the directory at that time or later. True if the node isn't
  // known: there is nothing to look at.
  bool WasLookedAt(NodeId id, int64_t since_ns) EXCLUDES(mutex_);
  void NoteLook(NodeId id, int64_t now_ns) EXCLUDES(mutex_);

  // The table doesn't know the node any more.
  void Forget(NodeId id) EXCLUDES(mutex_);

 private:
  NodeTable& nodes_;
  Mutex mutex_;
  std::unordered_map<NodeId, ZonePtr> zones_ GUARDED_BY(mutex_);
  std::unordered_map<NodeId, int64_t> looks_ns_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
