// Notes for the next mount: plain files that wait for their commit.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/mutex.h"
#include "fs/zone_table.h"

namespace xzfs {

class Committer;
class DoneIntents;
class NodeTree;
struct Options;

// The notes are hints, and lie in the session of each file's zone. Thread-safe.
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

  // Returns whether the file is noted; callers go on without a note. A file is noted once, until it
  // isn't pending any more.
  bool Note(const NodePtr& node) EXCLUDES(mutex_);
  // The file isn't pending any more.
  void Forget(NodeId id) EXCLUDES(mutex_);
  bool IsNoted(NodeId id) EXCLUDES(mutex_);
  // The paths of the noted files in the zone, below its top.
  std::vector<std::string> Paths(const Zone& zone) EXCLUDES(mutex_);
  // The file is stored under another name: writes that to the notes, or to its overlay.
  void NotePath(const NodePtr& node) EXCLUDES(mutex_);

  // Counts handles that may write, of all files. A handle is counted before its file is noted.
  void AddWriter() { ++writers_; }
  // Returns whether it was the last one.
  bool RemoveWriter() { return --writers_ == 0; }
  // Nothing is pending: removes the notes, except those of files that were given up. Does nothing
  // while there is a writer, since that will need its note.
  void DropIfIdle() EXCLUDES(mutex_);

 private:
  bool Write(const NodePtr& node) EXCLUDES(mutex_);

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
