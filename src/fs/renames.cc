// One step for the user may be two in the source, because a file's stored name depends on whether
// it is plain or compressed: renaming plain `a` over compressed `b` is renaming `a` to `b` and
// removing `b.xz`. Such operations write an intent before the first step; the next mount completes
// them if they were begun (store/intents.h). The namespace lock keeps all other operations on names
// away until the end.
//
// A name that is on the disk must not get content that is not. So the intent, and the content of a
// plain or edited file that moves, are on the disk before the first step. Both are written before
// the lock is taken, since others would wait for the disk: each attempt checks under the lock what
// is missing, which is then made without the lock (Prepared). Bytes that are written during the
// rename are not covered, as on any file system.
#include "fs/renames.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/log.h"
#include "base/try.h"
#include "fs/commit_failures.h"
#include "fs/commit_requests.h"
#include "fs/committer.h"
#include "fs/done_intents.h"
#include "fs/edited_files.h"
#include "fs/file_state.h"
#include "fs/half_done.h"
#include "fs/orphans.h"
#include "fs/pending_notes.h"
#include "fs/places.h"
#include "fs/plain_rules.h"
#include "fs/removals.h"
#include "fs/rename_whiteout.h"
#include "fs/syncs.h"
#include "fs/unfinished_commits.h"
#include "store/directory_reader.h"
#include "store/intents.h"
#include "store/names.h"

namespace xzfs {
namespace {

// After a crash the next mount looks at so many intents; one sync of a directory serves as many
// renames.
constexpr size_t kMostDoneIntents = 64;

bool IsSameFile(const StoredEntry& a, const StoredEntry& b) {
  return FileId::Of(a.attributes) == FileId::Of(b.attributes);
}

}  // namespace

// What a rename needs on the disk before its first step. It is made without a lock.
struct Renames::Prepared {
  struct Content {
    Identity identity;
    NodePtr node;        // null: the file has no node
    DescriptorPtr file;  // open, if there is no node
  };
  // Files whose content at the beginning of the rename is on the disk.
  std::vector<Identity> durable;
  ZonePtr zone;  // of both names
  // The intent that is on the disk, and its steps.
  std::shared_ptr<Session> session;
  std::string intent;  // empty: there is none
  std::vector<IntentStep> steps;
  // What is missing.
  std::vector<Content> to_sync;
  std::vector<IntentStep> to_write;
  // A compressed file has lost a name, which a plain one may get now. The loss must be on the disk
  // before that, else there could be two files with that name.
  bool awaits_disk = false;
  // Directories to sync before the intent: both files of an exchange must be on the disk under
  // their present names.
  std::vector<DescriptorPtr> dirs_to_sync;
  // Plain files that were left plain, and may be compressed after the rename.
  std::vector<NodeId> freed;

  static std::vector<DescriptorPtr> DirectoriesOf(const std::vector<Step>& steps) {
    std::vector<DescriptorPtr> dirs;
    for (const Step& step : steps) {
      dirs.push_back(step.from->descriptor);
      if (step.to != nullptr) {
        dirs.push_back(step.to->descriptor);
      }
    }
    return dirs;
  }
  bool IsDurable(const Identity& file) const {
    return std::any_of(durable.begin(), durable.end(), [&](const Identity& other) {
      return other.device == file.device && other.inode == file.inode;
    });
  }
  void NoteFreed(const Victim& victim) {
    if (victim.is_freed()) {
      freed.push_back(victim.node->id);
    }
  }
  void DropIntent() {
    if (!intent.empty()) {
      session->Unlink(std::exchange(intent, std::string()));
    }
    steps.clear();
  }
};

Status Renames::Rename(NodeId parent, const std::string& name, NodeId new_parent,
                       const std::string& new_name, unsigned flags) {
  XZFS_RETURN_IF_ERROR(parts_.places.PrepareToName(parent));
  XZFS_RETURN_IF_ERROR(parts_.places.PrepareToName(new_parent));
  constexpr unsigned kKnown = RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT;
  constexpr unsigned kExclusive = RENAME_WHITEOUT | RENAME_EXCHANGE;
  if ((flags & ~kKnown) != 0 || (flags & kExclusive) == kExclusive) {
    return Fail(EINVAL, "renameat2 flags");
  }
  // Each attempt may find other files under the names.
  constexpr int kTries = 8;
  Prepared prepared;
  RenameWhiteout whiteout(parts_.tree, parts_.zones, parts_.places, parts_.done_intents, parts_.os);
  Removals::Note note(parts_.removals);
  if ((flags & (RENAME_EXCHANGE | RENAME_NOREPLACE)) == 0) {
    note.Make(new_parent, new_name);
  }
  Result<bool> renamed = false;
  for (int tries = 0; renamed && !*renamed && tries < kTries; ++tries) {
    Status made = PrepareRename(prepared);
    made = made ? whiteout.Prepare() : made;
    if (!made) {
      renamed = Failure(made.error());
      break;
    }
    ExclusiveLock names(namespace_);
    renamed = TryRename(parent, name, new_parent, new_name, flags, prepared, whiteout);
  }
  whiteout.Drop();
  prepared.DropIntent();  // unless a step was taken: then another part has it
  // Step 6.
  parts_.done_intents.Remove(prepared.awaits_disk ? 1 : kMostDoneIntents);
  for (const NodeId id : prepared.freed) {
    parts_.requests.QueueFreed(id);
  }
  if (!renamed) {
    return Failure(renamed.error());
  }
  return *renamed ? Status()
                  : Fail(EBUSY, "'" + name + "' or '" + new_name + "' changes all the time");
}

Result<bool> Renames::TryRename(NodeId parent, const std::string& name, NodeId new_parent,
                                const std::string& new_name, unsigned flags, Prepared& prepared,
                                RenameWhiteout& whiteout) {
  XZFS_ASSIGN_OR_RETURN(const Place from, parts_.places.PlaceAt(parent, name));
  XZFS_ASSIGN_OR_RETURN(const Place to, parts_.places.PlaceAt(new_parent, new_name));
  prepared.zone = parts_.tree.tops().ZoneOf(parent);
  if (prepared.zone != parts_.tree.tops().ZoneOf(new_parent)) {
    return Fail(EXDEV, "'" + new_name + "' would be on another file system");
  }
  if ((flags & RENAME_WHITEOUT) == 0) {
    return RenameEntry(from, to, flags, prepared);
  }
  XZFS_ASSIGN_OR_RETURN(const bool ready, whiteout.IsReady(from, to));
  if (!ready) {
    return false;
  }
  XZFS_ASSIGN_OR_RETURN(const bool renamed, RenameEntry(from, to, flags, prepared));
  if (renamed) {
    prepared.awaits_disk = true;  // the whiteout must not get the name before the file loses it
    XZFS_RETURN_IF_ERROR(whiteout.PutInto(from, to));
  }
  return renamed;
}

// Step 2: makes what is missing. Blocks: until it is on the disk.
Status Renames::PrepareRename(Prepared& prepared) {
  for (const Prepared::Content& content : std::exchange(prepared.to_sync, {})) {
    Status synced;
    if (content.node != nullptr) {
      synced = parts_.syncs.SyncNode(content.node, SyncScope::kOnlyData);
    } else if (content.file != nullptr) {
      const int error = parts_.os.SyncData(content.file->descriptor.get());
      synced = error < 0 ? FailErrno(-error, "sync a file that is renamed") : Status();
    }
    // We can't sync a file that we may not open: then it is as safe as in the source. The next
    // attempt notices if the file was replaced.
    if (!synced && synced.error().code != EACCES && synced.error().code != ESTALE) {
      return synced;
    }
    prepared.durable.push_back(content.identity);
  }
  if (!prepared.to_write.empty()) {
    prepared.DropIntent();
    // Operations on a name must reach the disk one after the other.
    parts_.done_intents.RemoveBefore(prepared.to_write);
    // A directory that we may not read can't be synced: then it is as safe as in the source.
    if (Status synced = SyncDirectories(parts_.os, std::exchange(prepared.dirs_to_sync, {}));
        !synced && synced.error().code != EBADF) {
      return synced;
    }
    XZFS_ASSIGN_OR_RETURN(prepared.session, parts_.zones.SessionFor(prepared.zone));
    XZFS_ASSIGN_OR_RETURN(prepared.intent, prepared.session->WriteIntent(prepared.to_write));
    prepared.steps = std::exchange(prepared.to_write, {});
  }
  return {};
}

// `moved` gets a name that is on the disk, so its content must be on the disk before. Returns
// whether it is.
bool Renames::IsContentDurable(const Place& place, const StoredEntry& moved, Prepared& prepared) {
  const Identity identity = Identity::Of(moved.attributes);
  const NodePtr node = nodes_.FindBy(moved.kind, moved.format, identity);
  bool may_be_lost = moved.kind == StoredKind::kPlain;  // else a commit has synced it
  if (moved.kind == StoredKind::kCompressed && node != nullptr && node->state != nullptr) {
    FileLock lock(*node->state);
    may_be_lost = node->state->overlay() != nullptr;
  }
  if (!may_be_lost || prepared.IsDurable(identity)) {
    return true;
  }
  Prepared::Content content{identity, node, nullptr};
  if (node == nullptr) {
    Descriptor file(parts_.os,
                    parts_.os.OpenBeneath(place.fd(), moved.stored_name, O_RDONLY | O_NONBLOCK));
    content.file = file.valid() ? std::make_shared<SharedDescriptor>(std::move(file)) : nullptr;
  }
  prepared.to_sync.push_back(std::move(content));
  return false;
}

// Returns false, and does nothing, if `prepared` lacks something.
Result<bool> Renames::RenameEntry(const Place& from, const Place& to, unsigned flags,
                                  Prepared& prepared) {
  // Step 1 of a rename, and step 3.
  XZFS_ASSIGN_OR_RETURN(auto moved, parts_.places.EntryAt(from));
  XZFS_ASSIGN_OR_RETURN(auto target, parts_.places.EntryAt(to));
  if (!moved || ((flags & RENAME_EXCHANGE) != 0 && !target)) {
    return Fail(ENOENT, "'" + (moved ? to.name : from.name) + "': no such file");
  }
  if (target && (flags & RENAME_NOREPLACE) != 0) {
    return Fail(EEXIST, "'" + to.name + "' exists");
  }
  if (target && IsSameFile(*moved, *target)) {
    return true;  // two names of one file: POSIX says that nothing happens
  }
  if (!target && to.name != from.name) {
    XZFS_RETURN_IF_ERROR(parts_.places.RequireShort(to));
  }
  if ((flags & RENAME_EXCHANGE) != 0) {
    return Exchange(from, *moved, to, *target, prepared);
  }
  XZFS_ASSIGN_OR_RETURN(const std::string stored,
                        parts_.places.StoredNameFor(to, *moved, target ? &*target : nullptr));
  if (!target || target->stored_name == stored) {
    // If a plain file takes the same stored name, the rename is as safe as in the source.
    if (target && moved->kind != StoredKind::kPlain && !IsContentDurable(from, *moved, prepared)) {
      return false;
    }
    XZFS_RETURN_IF_ERROR(PrepareMove(from, *moved));
    Victim victim;
    if (target) {
      XZFS_ASSIGN_OR_RETURN(victim,
                            parts_.removals.PrepareRemoval(to, *target, Removals::Fate::kReplaced));
    }
    const int error =
        target ? parts_.os.Rename(from.fd(), moved->stored_name, to.fd(), stored, 0)
               : RenameOverNothing(parts_.os, from.fd(), moved->stored_name, to.fd(), stored);
    if (error < 0) {
      parts_.removals.UndoRemoval(victim);
      return FailErrno(-error, "rename '" + moved->stored_name + "' to '" + stored + "'");
    }
    parts_.removals.FinishRemoval(victim);
    prepared.NoteFreed(victim);
  } else {
    const std::vector<Step> steps = {
        {&from, moved->stored_name, &to, stored, moved->attributes.st_ino},
        {&to,
         target->stored_name,
         nullptr,
         {},
         target->attributes.st_ino,
         target->kind == StoredKind::kDirectory ? AT_REMOVEDIR : 0}};
    const bool is_durable = IsContentDurable(from, *moved, prepared);
    if (!HasIntent(steps, prepared) || !is_durable) {
      return false;
    }
    XZFS_RETURN_IF_ERROR(PrepareMove(from, *moved));
    XZFS_ASSIGN_OR_RETURN(const Victim victim,
                          parts_.removals.PrepareRemoval(to, *target, Removals::Fate::kReplaced));
    prepared.awaits_disk = moved->kind != StoredKind::kPlain;
    if (const Status replaced = RunSteps(steps, prepared); !replaced) {
      parts_.removals.UndoRemoval(victim);
      return Failure(replaced.error());
    }
    parts_.removals.FinishRemoval(victim);
    prepared.NoteFreed(victim);
  }
  Moved(from, to, *moved, stored, prepared);
  return true;
}

// Cancels a commit of the file before it gets another name. The commit would use the old name, and
// the mount would show a twin in the file's place.
Status Renames::PrepareMove(const Place& from, const StoredEntry& entry) {
  const NodePtr node = parts_.tree.KnownNode(entry);
  if (node != nullptr && node->state != nullptr) {
    FileLock lock(*node->state);
    XZFS_RETURN_IF_ERROR(parts_.unfinished.Cancel(node, *node->state));
  }
  return parts_.unfinished.RemoveHidden(from.fd(), entry);
}

// As RenameEntry.
Result<bool> Renames::Exchange(const Place& from, const StoredEntry& a, const Place& to,
                               const StoredEntry& b, Prepared& prepared) {
  XZFS_ASSIGN_OR_RETURN(const std::string a_name, parts_.places.StoredNameFor(to, a, &b));
  XZFS_ASSIGN_OR_RETURN(const std::string b_name, parts_.places.StoredNameFor(from, b, &a));
  const bool names_swap = a_name == b.stored_name && b_name == a.stored_name;
  std::vector<Step> steps = {{&from, a.stored_name, &to, a_name, a.attributes.st_ino},
                             {&to, b.stored_name, &from, b_name, b.attributes.st_ino}};
  if (!names_swap && a_name == b.stored_name) {  // the name must be free
    std::swap(steps[0], steps[1]);
  }
  // If a plain file swaps the stored name itself, the exchange is as safe as in the source.
  const auto is_durable = [&](const Place& place, const StoredEntry& moved) REQUIRES(namespace_) {
    return (names_swap && moved.kind == StoredKind::kPlain) ||
           IsContentDurable(place, moved, prepared);
  };
  const bool a_is_durable = is_durable(from, a);
  const bool b_is_durable = is_durable(to, b);
  if (!a_is_durable || !b_is_durable || (!names_swap && !HasIntent(steps, prepared))) {
    return false;
  }
  XZFS_RETURN_IF_ERROR(PrepareMove(from, a));
  XZFS_RETURN_IF_ERROR(PrepareMove(to, b));
  if (names_swap) {
    const int error =
        parts_.os.Rename(from.fd(), a.stored_name, to.fd(), b.stored_name, RENAME_EXCHANGE);
    if (error < 0) {
      return FailErrno(-error, "exchange '" + a.stored_name + "' and '" + b.stored_name + "'");
    }
  } else {
    prepared.awaits_disk = true;
    XZFS_RETURN_IF_ERROR(RunSteps(steps, prepared));
  }
  Moved(from, to, a, a_name, prepared);
  Moved(to, from, b, b_name, prepared);
  return true;
}

// Whether the intent on the disk has these steps.
bool Renames::HasIntent(const std::vector<Step>& steps, Prepared& prepared) {
  std::vector<IntentStep> intent;
  for (const Step& step : steps) {
    const std::string from = parts_.zones.PathInZone(step.from->dir->id, step.from_name);
    FileFacts facts;
    const bool is_known = parts_.os.FactsAt(step.from->fd(), step.from_name, &facts) == 0 &&
                          facts.attributes.st_ino == step.inode;
    const int64_t birth_ns = is_known ? facts.birth_ns : 0;
    if (step.to == nullptr) {
      intent.push_back({IntentStep::Kind::kUnlink, step.inode, from, {}, birth_ns});
    } else {
      intent.push_back({IntentStep::Kind::kRename, step.inode, from,
                        parts_.zones.PathInZone(step.to->dir->id, step.to_name), birth_ns});
    }
  }
  if (!prepared.intent.empty() && intent == prepared.steps) {
    return true;
  }
  prepared.to_write = std::move(intent);
  if (steps.back().to != nullptr && !parts_.os.KeepsOrder(steps.back().to->fd())) {
    prepared.dirs_to_sync = Prepared::DirectoriesOf(steps);
  }
  return false;
}

// Steps 4 and 5: makes `steps` one after the other. After a crash the next mount completes them or
// finds none done: it has the intent, and the file system keeps their order. Nothing is synced
// between them, since all names would wait for the disk. REQUIRES: HasIntent.
Status Renames::RunSteps(const std::vector<Step>& steps, Prepared& prepared) {
  for (size_t i = 0; i < steps.size(); ++i) {
    const Step& step = steps[i];
    const int error = step.to == nullptr
                          ? parts_.os.Unlink(step.from->fd(), step.from_name, step.unlink_flags)
                          : RenameOverNothing(parts_.os, step.from->fd(), step.from_name,
                                              step.to->fd(), step.to_name);
    if (error < 0) {
      // The first step changed nothing yet; a later one is undone by going back. If that fails,
      // too, the next lookup tries it again, or else the next mount completes the operation.
      HalfDone half{
          {}, prepared.session, prepared.intent, Prepared::DirectoriesOf(steps), prepared.steps};
      for (size_t done = i; done-- > 0;) {
        half.steps.push_back({steps[done].from->descriptor, steps[done].from_name,
                              steps[done].to->descriptor, steps[done].to_name, steps[done].inode});
      }
      if (!parts_.half_done.UndoOrKeep(std::move(half))) {
        Log(LogLevel::kError,
            "rename of '" + step.from_name + "' failed half way and could not be undone yet");
      }
      prepared.intent.clear();  // it was removed, or HalfDoneOperations has it
      return FailErrno(-error, "rename '" + step.from_name + "'");
    }
  }
  parts_.done_intents.Add({prepared.session, std::exchange(prepared.intent, {}),
                           Prepared::DirectoriesOf(steps), std::exchange(prepared.steps, {})});
  return {};
}

// Whether the file has been left plain for a reason that may end with its name. The rules know
// which names matter; a commit gives up a file whose compressed name is taken.
bool Renames::IsKeptPlain(const Node& node, const Place& place, const StoredEntry& entry) {
  if (node.kind != StoredKind::kPlain) {
    return false;
  }
  const auto failure = parts_.failures.Find(node.id);
  const std::string path = JoinPath(nodes_.FullPathOf(place.dir->id), entry.stored_name);
  return (failure && failure->is_given_up) || parts_.rules.WhyPlain(path, entry.attributes);
}

// The node of `entry` is stored as `stored_name` in `to` now: updates its location and all notes of
// its path.
void Renames::Moved(const Place& from, const Place& to, const StoredEntry& entry,
                    const std::string& stored_name, Prepared& prepared) {
  const NodePtr node = parts_.tree.KnownNode(entry);
  if (node == nullptr) {
    return;
  }
  if (IsKeptPlain(*node, from, entry)) {
    prepared.freed.push_back(node->id);
  }
  std::vector<NodeId> gone;
  nodes_.AddName(node->id, {to.dir->id, stored_name}, gone);
  nodes_.DropName(node->id, {from.dir->id, entry.stored_name});
  parts_.tree.Drop(gone);
  if (const Status refreshed = parts_.tree.Refresh(node); !refreshed) {
    Log(LogLevel::kDebug, refreshed.error().message);
  }
  if (node->kind == StoredKind::kDirectory) {
    parts_.orphans.NoteMove();
    std::vector<NodeId> told = parts_.edited.All();
    for (const NodeId pending : parts_.committer.Pending()) {
      told.push_back(pending);
    }
    for (const NodeId id : told) {
      if (nodes_.IsBelow(id, node->id)) {
        parts_.pending.NotePath(nodes_.Find(id));
      }
    }
  } else {
    parts_.pending.NotePath(node);
  }
}

}  // namespace xzfs
