// Removing names, and what a file goes on with that loses one.
#pragma once

#include <sys/stat.h>

#include <string>

#include "base/os.h"
#include "fs/commit_report.h"
#include "fs/descriptor_shares.h"
#include "fs/edited_files.h"
#include "fs/node_tree.h"
#include "fs/pending_notes.h"
#include "fs/places.h"
#include "fs/unfinished_commits.h"
#include "fs/zone_table.h"
#include "xzfs/result.h"

namespace xzfs {

// A name that is about to go, and what was prepared for that.
struct Victim {
  NodePtr node;  // null if nobody knows the file
  NodeTable::Location location;
  bool last_name = false;
  struct stat attributes = {};
  DescriptorPtr open;  // of a regular file that has other names, or is used without one
};

// Thread-safe. All fail with EROFS on a mount that is read-only.
class Removals {
 public:
  // Tells the overlay of an edited file, before the lock is taken that all names wait for, that its
  // base is about to go: that is on the disk then. Takes it back when it goes out of scope, if the
  // file is still there. Not thread-safe.
  class Note {
   public:
    explicit Note(Removals& removals) : removals_(removals) {}
    ~Note();
    Note(const Note&) = delete;
    Note& operator=(const Note&) = delete;

    // For the last name of an edited file; does nothing for another one. Blocks: until it is on the
    // disk. No lock is held.
    void Make(NodeId parent, const std::string& name);

   private:
    Removals& removals_;
    NodePtr node_;  // null: nothing was noted
  };

  Removals(NodeTree& tree, Places& places, ZoneTable& zones, EditedFiles& edited,
           UnfinishedCommits& unfinished, PendingNotes& pending, CommitReport& report,
           DescriptorQuota& held, Os& os);

  Status Unlink(NodeId parent, const std::string& name);
  Status RemoveDirectory(NodeId parent, const std::string& name);

  // For an operation that takes a name away, while names are held exclusively: prepares, and after
  // the system call finishes that or takes it back. `is_replaced`: another file takes over the
  // name, so it is never missing, not even to a caller that has looked it up just before and opens
  // it now.
  Result<Victim> PrepareRemoval(const Place& place, const StoredEntry& entry,
                                bool is_replaced = false);
  void FinishRemoval(const Victim& victim);
  void UndoRemoval(const Victim& victim);

 private:
  Result<Victim> HoldVictim(const Place& place, const StoredEntry& entry, bool is_replaced);
  Status PinNameless(NodeId id, const DescriptorPtr& open);
  void LoseName(const Victim& victim);

  NodeTree& tree_;
  NodeTable& nodes_;
  SharedMutex& namespace_;
  Places& places_;
  ZoneTable& zones_;
  EditedFiles& edited_;
  UnfinishedCommits& unfinished_;
  PendingNotes& pending_;
  CommitReport& report_;
  DescriptorQuota& held_;
  Os& os_;
};

}  // namespace xzfs
