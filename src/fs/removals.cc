// A file that loses its last name while it is used is reached through a pinned descriptor. A file
// with other names is reached by one of those, which may not have been looked up yet. Before the
// base of an edited file is removed its overlay gets a note of that. Without the note the next
// mount would treat the overlay as one that has lost its base.
#include "fs/removals.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "base/log.h"
#include "base/try.h"
#include "fs/commit_report.h"
#include "fs/commit_requests.h"
#include "fs/edited_files.h"
#include "fs/file_state.h"
#include "fs/pending_notes.h"
#include "fs/places.h"
#include "fs/unfinished_commits.h"
#include "store/names.h"
#include "store/overlay.h"

namespace xzfs {
namespace {

// If the removal fails the base is still there, and the note has no effect. Without the note the
// removal goes on, even on a full disk: at worst the changes appear in lost+found.
void NoteDropped(Overlay& overlay) {
  if (const Status noted = overlay.NoteDropped(); !noted) {
    Log(LogLevel::kDebug, noted.error().message);
  }
}

}  // namespace

Removals::Removals(NodeTree& tree, Places& places, ZoneTable& zones, EditedFiles& edited,
                   UnfinishedCommits& unfinished, PendingNotes& pending, CommitReport& report,
                   CommitRequests& requests, DescriptorQuota& held, Os& os)
    : tree_(tree),
      nodes_(tree.nodes()),
      namespace_(tree.namespace_lock()),
      places_(places),
      zones_(zones),
      edited_(edited),
      unfinished_(unfinished),
      pending_(pending),
      report_(report),
      requests_(requests),
      held_(held),
      os_(os) {}

// Keeps a descriptor for programs that have the file open, and notes in an overlay that its base is
// removed. If another file takes over the name, a caller that looked the old file up just before
// can still open it.
Result<Victim> Removals::PrepareRemoval(const Place& place, const StoredEntry& entry, Fate fate) {
  XZFS_ASSIGN_OR_RETURN(Victim victim, HoldVictim(place, entry, fate));
  if (const Status cleaned = unfinished_.RemoveHidden(place.fd(), entry); !cleaned) {
    UndoRemoval(victim);
    return Failure(cleaned.error());
  }
  return victim;
}

Result<Victim> Removals::HoldVictim(const Place& place, const StoredEntry& entry, Fate fate) {
  Victim victim;
  victim.node = tree_.KnownNode(entry);
  victim.location = {place.dir->id, entry.stored_name};
  victim.attributes = entry.attributes;
  victim.last_name = entry.kind == StoredKind::kDirectory || entry.attributes.st_nlink <= 1;
  if (victim.node == nullptr || entry.kind == StoredKind::kDirectory) {
    return victim;
  }
  const bool regular =
      victim.node->kind == StoredKind::kPlain || victim.node->kind == StoredKind::kCompressed;
  if (regular && (tree_.opens().IsOpen(victim.node->id) || fate == Fate::kReplaced)) {
    // It may still be opened for writing, and its state must say then that it has no name.
    XZFS_ASSIGN_OR_RETURN(victim.node, tree_.WithState(victim.node->id));
  }
  const NodePtr& node = victim.node;
  if (node->state != nullptr) {
    FileLock lock(*node->state);
    XZFS_RETURN_IF_ERROR(unfinished_.Cancel(node, *node->state));
  }
  if (regular && (!victim.last_name || tree_.opens().IsOpen(node->id) || fate == Fate::kReplaced)) {
    if (victim.last_name) {
      std::vector<NodeId> gone;
      nodes_.Move(node->id, victim.location, gone);
      tree_.Drop(gone);
    }
    if (node->state != nullptr) {
      FileLock lock(*node->state);
      victim.open = node->kind == StoredKind::kPlain ? node->state->plain().file : nullptr;
    }
    if (victim.open == nullptr) {
      auto open = tree_.OpenNode(node);
      if (!open && tree_.opens().IsOpen(node->id)) {  // else we may not be allowed to read it
        return Failure(open.error());
      }
      victim.open = open ? *open : nullptr;
    }
  }
  if (!victim.last_name) {
    return victim;
  }
  if (victim.open != nullptr) {
    XZFS_RETURN_IF_ERROR(PinNameless(node->id, victim.open));
  }
  if (node->state != nullptr) {
    FileLock lock(*node->state);
    if (node->state->overlay() != nullptr && !node->state->overlay()->notes().dropped) {
      // The file has changed since the Note, or there was nothing to note then.
      NoteDropped(*node->state->overlay());
    }
  }
  return victim;
}

void Removals::Note::Make(NodeId parent, const std::string& name) {
  if (!removals_.edited_.HasAny()) {
    return;
  }
  std::shared_ptr<Overlay> overlay;
  {
    SharedLock names(removals_.namespace_);
    const auto place = removals_.places_.PlaceAt(parent, name);
    const auto entry = place ? removals_.places_.EntryAt(*place) : std::optional<StoredEntry>();
    if (!entry || !*entry || (*entry)->attributes.st_nlink > 1) {
      return;  // the removal reports the error
    }
    node_ = removals_.tree_.KnownNode(**entry);
    if (node_ != nullptr && node_->state != nullptr) {
      FileLock lock(*node_->state);
      overlay = node_->state->overlay();
    }
  }
  if (overlay == nullptr) {
    node_ = nullptr;
    return;
  }
  NoteDropped(*overlay);
}

Removals::Note::~Note() {
  if (node_ == nullptr) {
    return;
  }
  {
    FileLock lock(*node_->state);
    const std::shared_ptr<Overlay>& overlay = node_->state->overlay();
    if (node_->state->unlinked() || overlay == nullptr || !overlay->notes().dropped) {
      return;
    }
  }
  removals_.pending_.NotePath(node_);
}

// A program that has the file open uses it through the descriptor. Their number is limited: if
// there is none left, an open file keeps its name. (A program that has only looked the file up gets
// ESTALE.)
Status Removals::PinNameless(NodeId id, const DescriptorPtr& open) {
  auto held = held_.Hold(1);
  if (!held) {
    return tree_.opens().IsOpen(id) ? Failure(held.error()) : Status();
  }
  tree_.files().Pin(id, open, std::make_shared<DescriptorQuota::Held>(std::move(*held)));
  return {};
}

void Removals::FinishRemoval(const Victim& victim) {
  if (victim.node == nullptr) {
    return;
  }
  const NodeId id = victim.node->id;
  if (!victim.last_name) {
    nodes_.DropName(id, victim.location);
    LoseName(victim);
    return;
  }
  nodes_.Unkey(id);
  report_.Clear(id);
  pending_.Forget(id);
  requests_.NoteRemoved(*victim.node);
  if (victim.node->kind == StoredKind::kDirectory) {
    nodes_.Update(id, [&](Node& removed) {
      removed.is_removed = true;
      removed.attributes = victim.attributes;
      removed.attributes.st_nlink = 0;
    });
    tree_.directories().Drop(id);
    return;
  }
  if (!tree_.opens().IsOpen(id)) {
    tree_.DropRead(*victim.node);
  }
  if (victim.node->state != nullptr) {
    FileState& state = *victim.node->state;
    FileLock lock(state);
    state.LoseLastName();
    if (!tree_.opens().IsOpen(id) && victim.open == nullptr) {
      edited_.Drop(id, state);
    } else if (!tree_.opens().IsOpen(id)) {
      edited_.Release(id,
                      state);  // the kernel forgets it soon, unless a program is about to open it
    }
  }
}

// The removal failed.
void Removals::UndoRemoval(const Victim& victim) {
  if (victim.node == nullptr || !victim.last_name) {
    return;
  }
  tree_.files().Unpin(victim.node->id);
  pending_.NotePath(victim.node);
}

// The file has other names, and perhaps none of them is known. A lookup of one must lead to this
// node; until then the file is used through its descriptor.
void Removals::LoseName(const Victim& victim) {
  const NodeId id = victim.node->id;
  struct stat st = {};
  if (victim.open == nullptr || os_.FStat(victim.open->descriptor.get(), &st) < 0) {
    return;
  }
  if (victim.node->kind == StoredKind::kCompressed) {
    if (const Status refreshed = tree_.RefreshFrom(victim.node, st, victim.location.stored_name);
        !refreshed) {
      Log(LogLevel::kDebug, refreshed.error().message);
    }
  }
  if (tree_.opens().IsOpen(id) && nodes_.LocationOf(id) == victim.location) {
    tree_.files().Pin(id, victim.open);
  }
}

Status Removals::Unlink(NodeId parent, const std::string& name) {
  XZFS_RETURN_IF_ERROR(places_.PrepareToName(parent));
  Note note(*this);
  note.Make(parent, name);
  Victim victim;
  {
    ExclusiveLock names(namespace_);
    XZFS_ASSIGN_OR_RETURN(const Place place, places_.PlaceAt(parent, name));
    XZFS_RETURN_IF_ERROR(Unlink(place, victim));
  }
  if (victim.is_freed()) {
    requests_.QueueFreed(victim.node->id);
  }
  return {};
}

// Removes the name, and says of which file.
Status Removals::Unlink(const Place& place, Victim& victim) {
  XZFS_ASSIGN_OR_RETURN(const auto entry, places_.EntryAt(place));
  if (!entry) {
    return Fail(ENOENT, "'" + place.name + "': no such file");
  }
  if (entry->kind == StoredKind::kDirectory) {
    return Fail(EISDIR, "'" + place.name + "' is a directory");
  }
  XZFS_ASSIGN_OR_RETURN(victim, PrepareRemoval(place, *entry, Fate::kRemoved));
  if (const int error = os_.Unlink(place.fd(), entry->stored_name, 0); error < 0) {
    UndoRemoval(victim);
    return FailErrno(-error, "unlink '" + entry->stored_name + "'");
  }
  FinishRemoval(victim);
  return {};
}

Status Removals::RemoveDirectory(NodeId parent, const std::string& name) {
  XZFS_RETURN_IF_ERROR(places_.PrepareToName(parent));
  ExclusiveLock names(namespace_);
  XZFS_ASSIGN_OR_RETURN(const Place place, places_.PlaceAt(parent, name));
  XZFS_ASSIGN_OR_RETURN(const auto entry, places_.EntryAt(place));
  if (!entry) {
    return Fail(ENOENT, "'" + name + "': no such directory");
  }
  if (entry->kind != StoredKind::kDirectory) {
    return Fail(ENOTDIR, "'" + name + "' is not a directory");
  }
  XZFS_ASSIGN_OR_RETURN(const Victim victim, PrepareRemoval(place, *entry, Fate::kRemoved));
  int error = os_.Unlink(place.fd(), entry->stored_name, AT_REMOVEDIR);
  if ((error == -ENOTEMPTY || error == -EEXIST) &&
      zones_.RemoveHome(place.fd(), entry->stored_name)) {
    error = os_.Unlink(place.fd(), entry->stored_name, AT_REMOVEDIR);
  }
  if (error < 0) {
    return FailErrno(-error, "rmdir '" + entry->stored_name + "'");
  }
  FinishRemoval(victim);
  return {};
}

}  // namespace xzfs
