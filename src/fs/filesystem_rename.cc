// Renaming.
//
// What is one step for the user may be two in the source, because a file's stored name depends on
// whether it is hot or cold: renaming hot `a` over cold `b` is renaming `a` to `b` and removing
// `b.xz`. Such operations write down what they are about to do (an intent) before the first step;
// the next mount completes them if the first step was done. Everybody else is kept away meanwhile
// by the namespace lock.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "base/log.h"
#include "fs/filesystem.h"
#include "fs/filesystem_places.h"
#include "store/intents.h"
#include "store/names.h"

namespace xzfs {

namespace {

bool IsSameFile(const StoredEntry& a, const StoredEntry& b) {
  return FileId::Of(a.attributes) == FileId::Of(b.attributes);
}

}  // namespace

Status Filesystem::Rename(NodeId parent, const std::string& name, NodeId new_parent,
                          const std::string& new_name, unsigned flags) {
  XZFS_RETURN_IF_ERROR(RequireWritable());
  if ((flags & ~static_cast<unsigned>(RENAME_NOREPLACE | RENAME_EXCHANGE)) != 0) {
    return Fail(EINVAL, "renameat2 flags");
  }
  ExclusiveLock names(namespace_);
  XZFS_ASSIGN_OR_RETURN(const Place from, PlaceAt(parent, name));
  XZFS_ASSIGN_OR_RETURN(const Place to, PlaceAt(new_parent, new_name));
  return RenameEntry(from, to, flags);
}

Status Filesystem::RenameEntry(const Place& from, const Place& to, unsigned flags) {
  XZFS_ASSIGN_OR_RETURN(auto moved, EntryAt(from));
  XZFS_ASSIGN_OR_RETURN(auto target, EntryAt(to));
  if (!moved || ((flags & RENAME_EXCHANGE) != 0 && !target)) {
    return Fail(ENOENT, "'" + (moved ? to.name : from.name) + "': no such file");
  }
  if (target && (flags & RENAME_NOREPLACE) != 0) {
    return Fail(EEXIST, "'" + to.name + "' exists");
  }
  if (target && IsSameFile(*moved, *target)) {
    return {};  // two names of one file: POSIX says that nothing happens
  }
  XZFS_RETURN_IF_ERROR(PrepareMove(from, *moved));
  if ((flags & RENAME_EXCHANGE) != 0) {
    XZFS_RETURN_IF_ERROR(PrepareMove(to, *target));
    return Exchange(from, *moved, to, *target);
  }
  XZFS_ASSIGN_OR_RETURN(const std::string stored,
                        StoredNameFor(to, *moved, target ? &*target : nullptr));
  if (!target || target->stored_name == stored) {
    Victim victim;
    if (target) {
      XZFS_ASSIGN_OR_RETURN(victim, PrepareRemoval(to, *target, /*is_replaced=*/true));
    }
    const int error = target
                          ? os_.Rename(from.fd(), moved->stored_name, to.fd(), stored, 0)
                          : RenameOverNothing(os_, from.fd(), moved->stored_name, to.fd(), stored);
    if (error < 0) {
      UndoRemoval(victim);
      return FailErrno(-error, "rename '" + moved->stored_name + "' to '" + stored + "'");
    }
    FinishRemoval(victim);
  } else {
    XZFS_ASSIGN_OR_RETURN(const Victim victim, PrepareRemoval(to, *target, /*is_replaced=*/true));
    // A plain file has its name at once, whatever else is there. Another one has it only when the
    // second step is done.
    Status replaced = RunSteps({{&from, moved->stored_name, &to, stored, moved->attributes.st_ino},
                                {&to, target->stored_name, nullptr, {}, target->attributes.st_ino}},
                               /*durable=*/moved->kind != StoredKind::kPlain);
    if (!replaced) {
      UndoRemoval(victim);
      return replaced;
    }
    FinishRemoval(victim);
  }
  Moved(from, to, *moved, stored);
  return {};
}

// Before a file gets another name: its commit would go to the old one, and a twin would be shown in
// its place.
Status Filesystem::PrepareMove(const Place& from, const StoredEntry& entry) {
  const NodePtr node = nodes_.FindBy(entry.kind, entry.format, Identity::Of(entry.attributes));
  if (node != nullptr && node->state != nullptr) {
    MutexLock lock(node->state->mutex);
    XZFS_RETURN_IF_ERROR(CancelCommit(node, *node->state));
  }
  return RemoveHiddenTwin(from.fd(), entry);
}

Status Filesystem::Exchange(const Place& from, const StoredEntry& a, const Place& to,
                            const StoredEntry& b) {
  XZFS_ASSIGN_OR_RETURN(const std::string a_name, StoredNameFor(to, a, &b));
  XZFS_ASSIGN_OR_RETURN(const std::string b_name, StoredNameFor(from, b, &a));
  if (a_name == b.stored_name && b_name == a.stored_name) {
    const int error = os_.Rename(from.fd(), a.stored_name, to.fd(), b.stored_name, RENAME_EXCHANGE);
    if (error < 0) {
      return FailErrno(-error, "exchange '" + a.stored_name + "' and '" + b.stored_name + "'");
    }
  } else {
    std::vector<RenameStep> steps = {{&from, a.stored_name, &to, a_name, a.attributes.st_ino},
                                     {&to, b.stored_name, &from, b_name, b.attributes.st_ino}};
    if (a_name == b.stored_name) {  // which must be free
      std::swap(steps[0], steps[1]);
    }
    XZFS_RETURN_IF_ERROR(RunSteps(steps, /*durable=*/true));
  }
  Moved(from, to, a, a_name);
  Moved(to, from, b, b_name);
  return {};
}

// Returns whether all is as it was before. May be repeated.
bool Filesystem::Undo(const HalfDone& half) {
  for (const HalfDone::Step& step : half.steps) {
    struct stat st = {};
    int error = os_.StatAt(step.to->descriptor.get(), step.to_name, &st);
    if (error == 0 && st.st_ino == step.inode) {  // else somebody has moved or removed it since
      error = RenameOverNothing(os_, step.to->descriptor.get(), step.to_name,
                                step.from->descriptor.get(), step.from_name);
    }
    if (error < 0 && error != -ENOENT) {
      return false;
    }
  }
  half.session->Unlink(half.intent);
  return true;
}

void Filesystem::UndoHalfDone() {
  if (has_half_done_) {
    ExclusiveLock names(namespace_);
    std::erase_if(half_done_, [this](const HalfDone& half) { return Undo(half); });
    has_half_done_ = !half_done_.empty();
  }
}

// Takes the steps one after the other, so that either none or all of them are done after a crash.
// `durable`: also after a power cut.
Status Filesystem::RunSteps(const std::vector<RenameStep>& steps, bool durable) {
  XZFS_ASSIGN_OR_RETURN(const std::shared_ptr<Session> session, OurSession());
  std::vector<IntentStep> intent;
  for (const RenameStep& step : steps) {
    const std::string from = nodes_.FullPathIn(step.from->dir->id, step.from_name);
    if (step.to == nullptr) {
      intent.push_back({IntentStep::Kind::kUnlink, step.inode, from, {}});
    } else {
      intent.push_back({IntentStep::Kind::kRename, step.inode, from,
                        nodes_.FullPathIn(step.to->dir->id, step.to_name)});
    }
  }
  XZFS_ASSIGN_OR_RETURN(const std::string name, session->WriteIntent(intent, durable));
  for (size_t i = 0; i < steps.size(); ++i) {
    const RenameStep& step = steps[i];
    const int error = step.to == nullptr ? os_.Unlink(step.from->fd(), step.from_name, 0)
                                         : RenameOverNothing(os_, step.from->fd(), step.from_name,
                                                             step.to->fd(), step.to_name);
    if (error < 0) {
      // The first step changed nothing yet; a later one is undone by going back. If that fails,
      // too, the next lookup tries it again, or else the next mount completes the operation.
      HalfDone half{{}, session, name};
      for (size_t done = i; done-- > 0;) {
        half.steps.push_back({steps[done].from->descriptor, steps[done].from_name,
                              steps[done].to->descriptor, steps[done].to_name, steps[done].inode});
      }
      if (!Undo(half)) {
        Log(LogLevel::kError,
            "rename of '" + step.from_name + "' failed half way and could not be undone yet");
        half_done_.push_back(std::move(half));
        has_half_done_ = true;
      }
      return FailErrno(-error, "rename '" + step.from_name + "'");
    }
    if (durable && i + 1 < steps.size()) {
      if (const int synced = os_.Sync(step.to->fd(), false); synced < 0) {
        Log(LogLevel::kWarning, "sync of a directory in the middle of a rename failed");
      }
    }
  }
  session->Unlink(name);
  return {};
}

// The node of `entry` is stored as `stored_name` in `to` now, and what notes its path is told.
void Filesystem::Moved(const Place& from, const Place& to, const StoredEntry& entry,
                       const std::string& stored_name) {
  const NodePtr node = nodes_.FindBy(entry.kind, entry.format, Identity::Of(entry.attributes));
  if (node == nullptr) {
    return;
  }
  std::vector<NodeId> gone;
  nodes_.AddName(node->id, {to.dir->id, stored_name}, gone);
  nodes_.DropName(node->id, {from.dir->id, entry.stored_name});
  Drop(gone);
  if (const Status refreshed = Refresh(node); !refreshed) {
    Log(LogLevel::kDebug, refreshed.error().message);
  }
  if (node->kind == StoredKind::kDirectory) {
    for (const NodeId pending : committer_.Pending()) {
      if (nodes_.IsBelow(pending, node->id)) {
        NotePath(nodes_.Find(pending));
      }
    }
  } else {
    NotePath(node);
  }
}

// Tells the notes for the next mount where a file with pending changes is.
void Filesystem::NotePath(const NodePtr& node) {
  if (node == nullptr || node->state == nullptr) {
    return;
  }
  MutexLock lock(node->state->mutex);
  if (node->state->overlay != nullptr) {
    if (const Status noted = node->state->overlay->NotePath(nodes_.FullPathOf(node->id)); !noted) {
      Log(LogLevel::kDebug, noted.error().message);
    }
  } else if (node->state->changed) {
    NotePending(node);
  }
}

}  // namespace xzfs
