// What the next mount must know of plain files that wait for their commit.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/mutex.h"
#include "fs/committer.h"
#include "fs/done_intents.h"
#include "fs/node_tree.h"
#include "fs/options.h"
#include "fs/zone_table.h"

namespace xzfs {

// Hints, in the session of each file's zone. Thread-safe.
class PendingNotes {
 public:
  PendingNotes(const Options& options, NodeTree& tree, ZoneTable& zones, Committer& committer,
               DoneIntents& done_intents)
      : options_(options),
        nodes_(tree.nodes()),
        tops_(tree.tops()),
        zones_(zones),
        committer_(committer),
        done_intents_(done_intents) {}

  // Returns whether the file is noted; a failure is no reason to fail. A file is noted once, until
  // it isn't pending any more. `moved`: under a new path.
  bool Note(const NodePtr& node, bool moved = false) EXCLUDES(mutex_);
  // The file isn't pending any more.
  void Forget(NodeId id) EXCLUDES(mutex_);
  bool IsNoted(NodeId id) EXCLUDES(mutex_);
  // Of those in the zone, below its top.
  std::vector<std::string> Paths(const Zone& zone) EXCLUDES(mutex_);
  // The file is stored under another name: the notes of it, or its overlay, are told.
  void NotePath(const NodePtr& node) EXCLUDES(mutex_);

  // Handles that may write, of all files. Counted before a file is noted.
  void AddWriter() { ++writers_; }
  // Returns whether it was the last one.
  bool RemoveWriter() { return --writers_ == 0; }
  // Nothing is pending: the hints are of no use any more, except those of files that were given up,
  // unless there is a writer, who will need one.
  void DropIfIdle() EXCLUDES(mutex_);

 private:
  const Options& options_;
  NodeTable& nodes_;
  ZoneTops& tops_;
  ZoneTable& zones_;
  Committer& committer_;
  DoneIntents& done_intents_;
  std::atomic<uint64_t> writers_{0};
  Mutex mutex_;
  std::unordered_set<NodeId> noted_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
