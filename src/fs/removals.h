// Removing names, and keeping files in use that lose their last name.
#pragma once

#include <sys/stat.h>

#include <string>

#include "fs/zone_table.h"
#include "xzfs/result.h"

namespace xzfs {

class CommitReport;
class CommitRequests;
class DescriptorQuota;
class EditedFiles;
class NodeTree;
class Os;
class PendingNotes;
struct Place;
class Places;
class UnfinishedCommits;

// A name that is about to be removed, and what was prepared for that.
struct Victim {
  NodePtr node;  // null if the file has no node
  NodeTable::Location location;
  bool last_name = false;
  struct stat attributes = {};
  DescriptorPtr open;  // of a regular file that has other names, or is used without a name

  // Whether the removal ends a reason for which the file was left plain: its several names.
  bool is_freed() const {
    return node != nullptr && node->kind == StoredKind::kPlain && attributes.st_nlink == 2;
  }
};

// Thread-safe. All fail with EROFS on a mount that is read-only.
class Removals {
 public:
  // Notes in the overlay of an edited file that its base is about to be removed. The note must be
  // on the disk before the namespace lock is taken, since all names wait for that. The destructor
  // takes the note back if the file is still there. Not thread-safe.
  class Note {
   public:
    explicit Note(Removals& removals) : removals_(removals) {}
    ~Note();
    Note(const Note&) = delete;
    Note& operator=(const Note&) = delete;

    // Makes the note if `name` is the last name of an edited file. Blocks: until it is on the disk.
    // REQUIRES: no lock is held.
    void Make(NodeId parent, const std::string& name);

   private:
    Removals& removals_;
    NodePtr node_;  // null: nothing was noted
  };

  // What becomes of the name: nothing has it, or another file takes it over.
  enum class Fate { kRemoved, kReplaced };

  Removals(NodeTree& tree, Places& places, ZoneTable& zones, EditedFiles& edited,
           UnfinishedCommits& unfinished, PendingNotes& pending, CommitReport& report,
           CommitRequests& requests, DescriptorQuota& held, Os& os);

  Status Unlink(NodeId parent, const std::string& name);
  Status RemoveDirectory(NodeId parent, const std::string& name);

  // For an operation that takes a name from a file. It calls PrepareRemoval before the system call,
  // and FinishRemoval or UndoRemoval after it. If it is kReplaced, a caller
  // that looked the old file up just before can still open it. REQUIRES: names are held
  // exclusively.
  Result<Victim> PrepareRemoval(const Place& place, const StoredEntry& entry, Fate fate);
  void FinishRemoval(const Victim& victim);
  void UndoRemoval(const Victim& victim);

 private:
  Status Unlink(const Place& place, Victim& victim) REQUIRES(namespace_);
  Result<Victim> HoldVictim(const Place& place, const StoredEntry& entry, Fate fate);
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
  CommitRequests& requests_;
  DescriptorQuota& held_;
  Os& os_;
};

}  // namespace xzfs
