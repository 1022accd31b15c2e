// Renaming.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fs/zone_table.h"
#include "xzfs/result.h"

namespace xzfs {

class CommitFailures;
class CommitRequests;
class Committer;
class DoneIntents;
class EditedFiles;
class HalfDoneOperations;
class NodeTree;
class Orphans;
class Os;
class PendingNotes;
struct Place;
class Places;
class PlainRules;
class Removals;
class RenameWhiteout;
class Syncs;
class UnfinishedCommits;

// What a rename works with.
struct RenameParts {
  NodeTree& tree;
  ZoneTable& zones;
  Places& places;
  Removals& removals;
  UnfinishedCommits& unfinished;
  Syncs& syncs;
  PendingNotes& pending;
  EditedFiles& edited;
  Orphans& orphans;
  HalfDoneOperations& half_done;
  DoneIntents& done_intents;
  Committer& committer;
  const PlainRules& rules;
  CommitFailures& failures;
  CommitRequests& requests;
  Os& os;
};

// Thread-safe. All fail with EROFS on a mount that is read-only.
class Renames {
 public:
  explicit Renames(const RenameParts& parts)
      : parts_(parts), nodes_(parts.tree.nodes()), namespace_(parts.tree.namespace_lock()) {}

  // `flags` as renameat2(2) takes them.
  Status Rename(NodeId parent, const std::string& name, NodeId new_parent,
                const std::string& new_name, unsigned flags) EXCLUDES(namespace_);

 private:
  struct Step {
    const Place* from = nullptr;
    std::string from_name;
    const Place* to = nullptr;  // null: the name is removed
    std::string to_name;
    uint64_t inode = 0;
    int unlink_flags = 0;  // of one that is removed
  };
  struct Prepared;

  Status PrepareRename(Prepared& prepared) EXCLUDES(namespace_);
  Result<bool> TryRename(NodeId parent, const std::string& name, NodeId new_parent,
                         const std::string& new_name, unsigned flags, Prepared& prepared,
                         RenameWhiteout& whiteout) REQUIRES(namespace_);
  Result<bool> RenameEntry(const Place& from, const Place& to, unsigned flags, Prepared& prepared)
      REQUIRES(namespace_);
  Result<bool> Exchange(const Place& from, const StoredEntry& a, const Place& to,
                        const StoredEntry& b, Prepared& prepared) REQUIRES(namespace_);
  Status PrepareMove(const Place& from, const StoredEntry& entry);
  bool IsContentDurable(const Place& place, const StoredEntry& moved, Prepared& prepared)
      REQUIRES(namespace_);
  bool HasIntent(const std::vector<Step>& steps, Prepared& prepared);
  Status RunSteps(const std::vector<Step>& steps, Prepared& prepared) REQUIRES(namespace_);
  void Moved(const Place& from, const Place& to, const StoredEntry& entry,
             const std::string& stored_name, Prepared& prepared);
  bool IsKeptPlain(const Node& node, const Place& place, const StoredEntry& entry);

  const RenameParts parts_;
  NodeTable& nodes_;
  SharedMutex& namespace_;
};

}  // namespace xzfs
