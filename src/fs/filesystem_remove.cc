// Removing names, and what a file goes on with that loses one.
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "base/log.h"
#include "fs/filesystem.h"
#include "fs/filesystem_places.h"
#include "store/names.h"

namespace xzfs {
namespace {

// Should the removal fail, the base is still there, and the note means nothing. And a full disk is
// no reason not to remove: at worst the changes turn up in lost+found.
void NoteDropped(Overlay& overlay) {
  if (const Status noted = overlay.NoteDropped(); !noted) {
    Log(LogLevel::kDebug, noted.error().message);
  }
}

}  // namespace

// Whoever has the file open goes on with a descriptor, and an overlay is told that its base goes.
// A name that another file takes over is never missing, not even to who has looked it up just
// before and opens it now.
Result<Filesystem::Victim> Filesystem::PrepareRemoval(const Place& place, const StoredEntry& entry,
                                                      bool is_replaced) {
  XZFS_ASSIGN_OR_RETURN(Victim victim, HoldVictim(place, entry, is_replaced));
  if (const Status cleaned = RemoveHiddenTwin(place.fd(), entry); !cleaned) {
    UndoRemoval(victim);
    return tl::unexpected(cleaned.error());
  }
  return victim;
}

Result<Filesystem::Victim> Filesystem::HoldVictim(const Place& place, const StoredEntry& entry,
                                                  bool is_replaced) {
  Victim victim;
  victim.node = KnownNode(entry);
  victim.location = {place.dir->id, entry.stored_name};
  victim.attributes = entry.attributes;
  victim.last_name = entry.kind == StoredKind::kDirectory || entry.attributes.st_nlink <= 1;
  if (victim.node == nullptr || entry.kind == StoredKind::kDirectory) {
    return victim;
  }
  const bool regular =
      victim.node->kind == StoredKind::kPlain || victim.node->kind == StoredKind::kCompressed;
  if (regular && (nodes_.IsOpen(victim.node->id) || is_replaced)) {
    // It may be opened for writing yet, and must be known then to have no name.
    XZFS_ASSIGN_OR_RETURN(victim.node, WithState(victim.node->id));
  }
  const NodePtr& node = victim.node;
  if (node->state != nullptr) {
    MutexLock lock(node->state->mutex);
    XZFS_RETURN_IF_ERROR(CancelCommit(node, *node->state));
  }
  if (regular && (!victim.last_name || nodes_.IsOpen(node->id) || is_replaced)) {
    if (victim.last_name) {
      std::vector<NodeId> gone;
      nodes_.Move(node->id, victim.location, gone);
      Drop(gone);
    }
    if (node->state != nullptr) {
      MutexLock lock(node->state->mutex);
      victim.open = node->kind == StoredKind::kPlain ? node->state->hot : nullptr;
    }
    if (victim.open == nullptr) {
      auto open = OpenNode(node);
      if (!open && nodes_.IsOpen(node->id)) {  // else it may be forbidden to read it
        return tl::unexpected(open.error());
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
    MutexLock lock(node->state->mutex);
    if (node->state->overlay != nullptr && !node->state->overlay->dropped()) {
      // Something has come between since RemovalNote saw it, or there was nothing to be noted then.
      NoteDropped(*node->state->overlay);
    }
  }
  return victim;
}

void Filesystem::RemovalNote::Make(NodeId parent, const std::string& name) {
  if (!fs_.HasEditedFiles()) {
    return;
  }
  std::shared_ptr<Overlay> overlay;
  {
    SharedLock names(fs_.namespace_);
    const auto place = fs_.PlaceAt(parent, name);
    const auto entry = place ? fs_.EntryAt(*place) : std::optional<StoredEntry>();
    if (!entry || !*entry || (*entry)->attributes.st_nlink > 1) {
      return;  // what is wrong with it the removal tells
    }
    node_ = fs_.KnownNode(**entry);
    if (node_ != nullptr && node_->state != nullptr) {
      MutexLock lock(node_->state->mutex);
      overlay = node_->state->overlay;
    }
  }
  if (overlay == nullptr) {
    node_ = nullptr;
    return;
  }
  NoteDropped(*overlay);
}

Filesystem::RemovalNote::~RemovalNote() {
  if (node_ == nullptr) {
    return;
  }
  {
    MutexLock lock(node_->state->mutex);
    const std::shared_ptr<Overlay>& overlay = node_->state->overlay;
    if (node_->state->unlinked || overlay == nullptr || !overlay->dropped()) {
      return;
    }
  }
  fs_.NotePath(node_);
}

// Nobody will ask for this version of a file again.
void Filesystem::DropRead(const Node& node) {
  if (node.kind == StoredKind::kCompressed) {
    engine_.files.Drop(node.identity, node.format);
    engine_.small_files.Drop(node.identity);
    engine_.cache.DropFile(node.file_id);
  }
}

// A program that has it open goes on by the descriptor. There is room for so many of them: if there
// is none, a file that is open keeps its name. (Who has only looked it up meets ESTALE.)
Status Filesystem::PinNameless(NodeId id, const DescriptorPtr& open) {
  auto held = held_.Hold(1);
  if (!held) {
    return nodes_.IsOpen(id) ? tl::unexpected(held.error()) : Status();
  }
  files_.Pin(id, open, std::make_shared<DescriptorQuota::Held>(std::move(*held)));
  return {};
}

void Filesystem::FinishRemoval(const Victim& victim) {
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
  ClearFailure(id);
  ForgetNote(id);
  if (victim.node->kind == StoredKind::kDirectory) {
    nodes_.Update(id, [&](Node& removed) {
      removed.is_removed = true;
      removed.attributes = victim.attributes;
      removed.attributes.st_nlink = 0;
    });
    directories_.Drop(id);
    return;
  }
  if (!nodes_.IsOpen(id)) {
    DropRead(*victim.node);
  }
  if (victim.node->state != nullptr) {
    FileState& state = *victim.node->state;
    MutexLock lock(state.mutex);
    state.unlinked = true;
    if (!nodes_.IsOpen(id) && victim.open == nullptr) {
      DropOverlay(id, state);
    } else if (!nodes_.IsOpen(id)) {
      ReleaseNode(id, state);  // the kernel forgets it soon, unless somebody is about to open it
    }
  }
}

// It could not be removed after all.
void Filesystem::UndoRemoval(const Victim& victim) {
  if (victim.node == nullptr || !victim.last_name) {
    return;
  }
  files_.Unpin(victim.node->id);
  NotePath(victim.node);
}

// The file goes on under other names, of which perhaps none is known. The next one to be looked up
// must be found to be this node; until then it is used by its descriptor.
void Filesystem::LoseName(const Victim& victim) {
  const NodeId id = victim.node->id;
  struct stat st = {};
  if (victim.open == nullptr || os_.FStat(victim.open->descriptor.get(), &st) < 0) {
    return;
  }
  if (victim.node->kind == StoredKind::kCompressed) {
    if (const Status refreshed = RefreshFrom(victim.node, st, victim.location.stored_name);
        !refreshed) {
      Log(LogLevel::kDebug, refreshed.error().message);
    }
  }
  if (nodes_.IsOpen(id) && nodes_.LocationOf(id) == victim.location) {
    files_.Pin(id, victim.open);
  }
}

void Filesystem::DropOverlay(NodeId id, FileState& state) {
  if (state.overlay != nullptr) {
    if (const Status removed = state.overlay->Remove(); !removed) {
      Log(LogLevel::kWarning, removed.error().message);
    }
    DetachOverlay(id, state);
  }
}

void Filesystem::ForgetEdited(NodeId id, const FileId& file) {
  MutexLock lock(edited_mutex_);
  const auto it = edited_.find(file);
  if (it != edited_.end() && it->second == id) {
    edited_.erase(it);
  }
}

// The overlay, if there is one, goes with the node.
void Filesystem::ReleaseNode(NodeId id, FileState& state) {
  if (state.overlay != nullptr && std::exchange(state.overlay_holds_node, false)) {
    ForgetEdited(id, state.edited_file);
    Forget(id, 1);
  }
}

// The node is not kept for it any more.
void Filesystem::DetachOverlay(NodeId id, FileState& state) {
  if (state.overlay != nullptr) {
    const bool held = std::exchange(state.overlay_holds_node, false);
    ForgetEdited(id, state.edited_file);
    state.overlay = nullptr;
    state.session = nullptr;
    state.zone = nullptr;
    Forget(id, held ? 1 : 0);
  }
}

Status Filesystem::Unlink(NodeId parent, const std::string& name) {
  XZFS_RETURN_IF_ERROR(PrepareToName(parent));
  RemovalNote note(*this);
  note.Make(parent, name);
  ExclusiveLock names(namespace_);
  XZFS_ASSIGN_OR_RETURN(const Place place, PlaceAt(parent, name));
  XZFS_ASSIGN_OR_RETURN(const auto entry, EntryAt(place));
  if (!entry) {
    return Fail(ENOENT, "'" + name + "': no such file");
  }
  if (entry->kind == StoredKind::kDirectory) {
    return Fail(EISDIR, "'" + name + "' is a directory");
  }
  XZFS_ASSIGN_OR_RETURN(const Victim victim, PrepareRemoval(place, *entry));
  if (const int error = os_.Unlink(place.fd(), entry->stored_name, 0); error < 0) {
    UndoRemoval(victim);
    return FailErrno(-error, "unlink '" + entry->stored_name + "'");
  }
  FinishRemoval(victim);
  return {};
}

Status Filesystem::RemoveDirectory(NodeId parent, const std::string& name) {
  XZFS_RETURN_IF_ERROR(PrepareToName(parent));
  ExclusiveLock names(namespace_);
  XZFS_ASSIGN_OR_RETURN(const Place place, PlaceAt(parent, name));
  XZFS_ASSIGN_OR_RETURN(const auto entry, EntryAt(place));
  if (!entry) {
    return Fail(ENOENT, "'" + name + "': no such directory");
  }
  if (entry->kind != StoredKind::kDirectory) {
    return Fail(ENOTDIR, "'" + name + "' is not a directory");
  }
  XZFS_ASSIGN_OR_RETURN(const Victim victim, PrepareRemoval(place, *entry));
  int error = os_.Unlink(place.fd(), entry->stored_name, AT_REMOVEDIR);
  if ((error == -ENOTEMPTY || error == -EEXIST) && RemoveHome(place, *entry)) {
    error = os_.Unlink(place.fd(), entry->stored_name, AT_REMOVEDIR);
  }
  if (error < 0) {
    return FailErrno(-error, "rmdir '" + entry->stored_name + "'");
  }
  FinishRemoval(victim);
  return {};
}

}  // namespace xzfs
