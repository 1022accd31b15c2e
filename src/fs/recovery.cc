// Adopts the sessions of dead daemons: for the root's zone before the mount serves, for another
// zone before the first name in it is answered. Each step may be interrupted; the next mount does
// it again.
//
//   intents    completed, if a step of them was taken (store/intents.h)
//   claims     what a commit has left that was cut off is undone (store/settle_claims.h)
//   N.tmp      removed
//   overlays   attached to their files again, and queued. One whose base has what it says already
//              was committed; one that was noted as dropped and has no base belonged to a file that
//              was removed. Any other without its base goes to lost+found
//   pending    plain files are queued again
#include "fs/recovery.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <unordered_set>
#include <utility>

#include "base/log.h"
#include "base/try.h"
#include "fs/lookups.h"
#include "fs/overlays.h"
#include "fs/pending_notes.h"
#include "fs/zone_table.h"
#include "store/claims_file.h"
#include "store/content_hash.h"
#include "store/directory_reader.h"
#include "store/home.h"
#include "store/intents.h"
#include "store/names.h"
#include "store/overlay.h"
#include "store/overlay_content.h"
#include "store/settle_claims.h"

namespace xzfs {
namespace {

std::vector<std::string> WithSuffix(const std::vector<std::string>& files,
                                    std::string_view suffix) {
  std::vector<std::string> ids;
  for (const std::string& file : files) {
    if (file.ends_with(suffix)) {
      ids.push_back(file.substr(0, file.size() - suffix.size()));
    }
  }
  return ids;
}

}  // namespace

void Recovery::Run(RecoveryTime time) {
  auto dead = Session::AdoptDead(os_, source_);
  if (!dead) {
    Log(LogLevel::kError, "recovery: " + dead.error().message);
    return;
  }
  if (!dead->empty()) {
    MutexLock lock(zone_->mutex);
    parts_.zones.KeepZone(zone_, top_);
  }
  for (auto& session : *dead) {
    Adopt(std::move(session));
  }
  if (!orphans_.empty() && time == RecoveryTime::kAtMount) {
    SearchBases();
    SettleOrphans();
  }
  runner_.AddOrphans(zone_, std::exchange(orphans_, {}));
  DropAdopted();
}

// Drops sessions of earlier mounts that hold nothing any more.
void Recovery::DropAdopted() {
  MutexLock lock(zone_->mutex);
  std::erase_if(zone_->adopted, [](const std::shared_ptr<Session>& session) {
    session->RemoveIfEmpty();
    return session.use_count() == 1 && !session->pending().HasAny();  // no overlay is in it
  });
}

void Recovery::Adopt(const std::shared_ptr<Session>& session) {
  const auto files = session->ListFiles();
  if (!files) {
    Log(LogLevel::kError, "recovery: " + files.error().message);
    return;
  }
  {
    MutexLock lock(zone_->mutex);
    zone_->adopted.push_back(session);
  }
  const bool claims_ended = EndClaims(*session);
  const bool complete = CompleteIntents(*session, *files) && claims_ended;
  for (const std::string& id : WithSuffix(*files, ".tmp")) {
    if (complete) {  // else an intent may need it
      session->Unlink(id + ".tmp");
    }
  }
  for (const std::string& id : WithSuffix(*files, ".log")) {
    LoadOverlay(session, id);
  }
  const std::unordered_set<std::string> names(files->begin(), files->end());
  for (const std::string& id : WithSuffix(*files, ".data")) {
    if (!names.contains(id + ".log")) {
      // Its overlay was never complete, or is removed already.
      session->Unlink(id + ".data");
    }
  }
  if (const auto paths = session->pending().Read(); paths) {
    std::vector<std::string> unique = *paths;
    std::sort(unique.begin(), unique.end());
    unique.erase(std::unique(unique.begin(), unique.end()), unique.end());
    bool all_noted = true;
    for (const std::string& path : unique) {
      all_noted = RequeuePending(path) && all_noted;
    }
    if (all_noted) {
      session->pending().Remove();
    }
  }
}

bool Recovery::CompleteIntents(Session& session, const std::vector<std::string>& files) {
  bool complete = true;
  for (const std::string& id : WithSuffix(files, ".intent")) {
    const std::string name = id + ".intent";
    const Intent intent = session.ReadIntent(name);
    const std::vector<IntentStep>& steps = intent.steps;
    Status done = [&] {
      ExclusiveLock names(parts_.tree.namespace_lock());
      return CompleteIntent(os_, source_, session, intent);
    }();
    const int code = done ? 0 : done.error().code;
    const bool is_moved = code == ENOENT || code == ENOTDIR || code == ESTALE;
    if (is_moved && steps.front().kind == IntentStep::Kind::kOverwrite) {
      done = CompleteMoved(session, steps);
    }
    if (done) {
      session.Unlink(name);
      continue;
    }
    Log(LogLevel::kError, "recovery: " + done.error().message);
    complete = false;
    for (const IntentStep& step : steps) {
      if (step.kind == IntentStep::Kind::kOverwrite) {
        parts_.edited.NoteHalfOverwritten(FileAt(step.to, step.inode));
      }
    }
  }
  return complete;
}

// The file that was being overwritten isn't at its noted path: a directory above it was renamed, or
// the file has lost that name.
Status Recovery::CompleteMoved(Session& session, std::vector<IntentStep> steps) {
  IntentStep& step = steps.front();
  const Result<std::string> path = PathOf(step.inode, step.birth_ns);
  if (path) {
    step.to = *path;
    return CompleteIntent(os_, source_, session, {{step}});
  }
  if (path.error().code != ENOENT) {
    return Failure(path.error());
  }
  return KeepInLostAndFound(
      os_, session, step.from,
      "The new content of " + step.to + ", which was removed while xzfs was overwriting it,");
}

// Returns false if a claim could not be ended; it stays then.
bool Recovery::EndClaims(Session& session) {
  std::vector<Claim> moved;
  Status ended = SettleClaims(os_, session, &moved);
  for (const Claim& claim : moved) {
    // Of the two files of the claim at least one has the old file's name.
    Result<std::string> path = PathOf(claim.old.inode, claim.old.birth_ns);
    if (!path && path.error().code == ENOENT && claim.made.inode != 0) {
      path = PathOf(claim.made.inode, claim.made.birth_ns);
    }
    if (!path && path.error().code != ENOENT) {
      ended = Failure(path.error());
      continue;
    }
    const auto dir = OpenDirectoryAt(os_, source_, path ? SplitPath(*path).first : "");
    const Status settled = SettleClaim(os_, session, path && dir ? dir->get() : -1, claim);
    ended = settled ? ended : settled;
  }
  if (ended && !moved.empty()) {
    session.Unlink(ClaimsFile::kName);
  }
  if (!ended) {
    Log(LogLevel::kError, "recovery: " + ended.error().message + "; the next mount tries again");
  }
  return ended.has_value();
}

void Recovery::LoadOverlay(const std::shared_ptr<Session>& session, const std::string& id) {
  auto overlay = parts_.overlays.Load(*session, id);
  if (!overlay) {
    if (overlay.error().kind == ErrorKind::kSystem) {
      Log(LogLevel::kError, "recovery: " + overlay.error().message + "; it is left unchanged");
      return;
    }
    if (FinishMove(*session, id)) {
      return;
    }
    // Without a whole header no write to it was acknowledged.
    Log(LogLevel::kWarning, "recovery: " + overlay.error().message + "; it is removed");
    session->Unlink(id + ".log");
    session->Unlink(id + ".data");
    return;
  }
  if (const OverlayBase base = (*overlay)->base();
      parts_.edited.IsHalfOverwritten(FileAt(base.path, base.inode))) {
    Log(LogLevel::kError, "recovery: the changes of " + base.path + " stay for the next mount");
    return;
  }
  if ((*overlay)->notes().lost_changes) {
    Log(LogLevel::kWarning, "recovery: changes of " + (*overlay)->base().path +
                                " that were not synced before the machine went down are lost");
  }
  const Orphan orphan{zone_, session, std::move(*overlay)};
  if (!Settle(orphan, orphan.overlay->base().path)) {
    orphans_.push_back(orphan);
  }
}

// The data was moved to lost+found, and the process ended before it moved the log.
bool Recovery::FinishMove(const Session& session, const std::string& id) {
  const auto lost = Session::FindLostAndFound(os_, source_);
  const std::string name = session.name() + "-" + id;
  struct stat st = {};
  return lost && os_.StatAt(lost->get(), name + ".data", &st) == 0 &&
         os_.Rename(session.folder(), id + ".log", lost->get(), name + ".log", 0) == 0;
}

// The file at `path` if it has that inode number; else a file with that number on the zone's file
// system.
FileId Recovery::FileAt(const std::string& path, uint64_t inode) {
  const auto [dir_path, name] = SplitPath(path);
  const auto dir = OpenDirectoryAt(os_, source_, dir_path);
  struct stat st = {};
  const bool there = dir && os_.StatAt(dir->get(), name, &st) == 0 && st.st_ino == inode;
  return {there ? st.st_dev : zone_->device, inode};
}

Recovery::Found Recovery::LookAt(Overlay& overlay, const std::string& path) {
  const auto [dir_path, name] = SplitPath(path);
  const auto dir = OpenDirectoryAt(os_, source_, dir_path);
  FileFacts facts;
  const int error = dir ? -os_.FactsAt(dir->get(), name, &facts) : dir.error().code;
  if (error == 0 && zone_->mount_id != 0 && facts.mount_id != zone_->mount_id) {
    return Found::kNothing;  // another file system is mounted there
  }
  if (error != 0) {
    return error == ENOENT || error == ENOTDIR || error == ELOOP ? Found::kNothing
                                                                 : Found::kUnknown;
  }
  const StoredKey there = StoredKey::Of(facts);
  if (overlay.base().key().Matches(there)) {
    return Found::kBase;
  }
  const OverlayNotes notes = overlay.notes();
  const auto& as = notes.published_as;
  const auto as_published = [&] {
    if (!notes.has_changed_since_publishing) {
      return Found::kPublished;
    }
    overlay.RebaseOnPublished();  // the base was overwritten while the file was changed
    return Found::kBase;
  };
  if (as && as->key().Matches(there)) {
    return as_published();
  }
  const auto has = [&, &name = name](uint64_t content, uint64_t size, int64_t mtime_ns) {
    return content != 0 && there.size_bytes == size && there.mtime_ns == mtime_ns &&
           ContentHashAt(os_, dir->get(), name).value_or(0) == content;
  };
  if (as && has(notes.published_content, as->size_bytes, as->mtime_ns)) {
    return as_published();
  }
  const OverlayBase base = overlay.base();
  if (has(base.content, base.size_bytes, base.mtime_ns)) {
    overlay.NoteInode(there.inode);
    return Found::kBase;
  }
  return Found::kNothing;
}

// Returns false if the overlay's base isn't at `path`.
bool Recovery::Settle(const Orphan& orphan, const std::string& path) {
  switch (LookAt(*orphan.overlay, path)) {
    case Found::kPublished: {
      // The process may have ended before it synced the new name.
      const auto dir = OpenDirectoryAt(os_, source_, SplitPath(path).first);
      const int error = dir ? os_.Sync(dir->get()) : -dir.error().code;
      if (error == 0) {
        (void)orphan.overlay->Remove();
      } else {
        Log(LogLevel::kError, "recovery: the directory of " + path +
                                  " can't be synced; the next mount checks it again");
      }
      return true;
    }
    case Found::kBase: {
      const Status attached = Attach(orphan, path);
      if (!attached) {
        Log(LogLevel::kError, "recovery: " + attached.error().message +
                                  "; its pending changes stay in .xzfs for the next mount");
      }
      return true;
    }
    case Found::kUnknown:
      Log(LogLevel::kError, "recovery: " + path +
                                " can't be looked at; its pending changes stay in .xzfs for the "
                                "next mount");
      return true;
    case Found::kNothing:
      break;
  }
  return false;
}

Status Recovery::Attach(const Orphan& orphan, const std::string& path) {
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, NodeAt(path));
  if (node->kind != StoredKind::kCompressed) {
    parts_.tree.Forget(node->id, 1);
    return Fail(EEXIST, path + " is hidden by another file");
  }
  bool is_first = false;
  {
    FileState& state = *node->state;
    FileLock lock(state);
    is_first = state.overlay() == nullptr;
    if (is_first) {
      parts_.edited.Attach(*node, state, orphan.overlay, orphan.session, orphan.zone);
      state.NoteChange();
    }
  }
  if (!is_first) {
    parts_.tree.Forget(node->id, 1);
    return parts_.overlays.KeepLost(*orphan.session, *orphan.overlay, path,
                                    "another mount had pending changes of the same file");
  }
  // The lookup that found it is now counted for the overlay.
  (void)orphan.overlay->NotePath(path);
  parts_.requests.Queue(node);
  return {};
}

// The node of the stored file `path`, with a state and one lookup counted.
Result<NodePtr> Recovery::NodeAt(const std::string& path) {
  SharedLock names(parts_.tree.namespace_lock());
  NodeId at = zone_->top;
  Result<LookupResult> found = LookupResult{at, {}, false};
  for (size_t begin = 0; begin <= path.size() && found;) {
    const size_t end = std::min(path.find('/', begin), path.size());
    found = LookIn(at, path.substr(begin, end - begin));
    if (at != zone_->top) {
      parts_.tree.Forget(at, 1);
    }
    at = found ? found->node : zone_->top;
    begin = end + 1;
  }
  if (!found) {
    return Failure(found.error());
  }
  return parts_.tree.WithState(at);
}

Result<LookupResult> Recovery::LookIn(NodeId parent, const std::string& stored) {
  XZFS_ASSIGN_OR_RETURN(const NodePtr dir, parts_.tree.FindNode(parent));
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr open, parts_.tree.OpenNode(dir));
  XZFS_ASSIGN_OR_RETURN(auto entry, parts_.tree.names().Show(open->descriptor.get(), stored));
  if (!entry) {
    return Fail(ENOENT, stored + " is no longer there");
  }
  return parts_.lookups.Register(parent, std::move(*entry));
}

// The path is in another zone, whose files don't concern this recovery.
bool Recovery::IsElsewhere(const Result<Descriptor>& dir) {
  FileFacts facts;
  return dir && os_.FactsAt(dir->get(), "", &facts) == 0 &&
         (facts.attributes.st_dev != zone_->device ||
          (zone_->mount_id != 0 && facts.mount_id != zone_->mount_id));
}

// Returns false if the note is still needed.
bool Recovery::RequeuePending(const std::string& path) {
  const auto node = NodeAt(path);
  if (!node) {
    return true;  // committed, renamed or removed since it was noted
  }
  bool noted = true;
  if ((*node)->kind == StoredKind::kPlain) {
    {
      FileLock lock(*(*node)->state);
      (*node)->state->NoteChange();
    }
    noted = parts_.pending.Note(*node);
    parts_.requests.Queue(*node);
  }
  parts_.tree.Forget((*node)->id, 1);
  return noted;
}

}  // namespace xzfs
