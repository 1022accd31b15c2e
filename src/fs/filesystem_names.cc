// Making, renaming and removing names.
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
#include <climits>
#include <utility>

#include "base/log.h"
#include "fs/filesystem.h"
#include "store/intents.h"
#include "store/names.h"

namespace xzfs {

// A name in a directory that is open.
struct Filesystem::Place {
  NodePtr dir;
  DescriptorPtr descriptor;
  std::string name;  // the logical one
  int fd() const { return descriptor->descriptor.get(); }
};

// A name that is about to go, and what was prepared for that.
struct Filesystem::Victim {
  NodePtr node;  // null if nobody knows the file
  NodeTable::Location location;
  bool last_name = false;
  DescriptorPtr open;  // of a regular file that has other names, or is used without one
};

struct Filesystem::RenameStep {
  const Place* from = nullptr;
  std::string from_name;
  const Place* to = nullptr;  // null: the name is removed
  std::string to_name;
  uint64_t inode = 0;
};

namespace {

bool IsSameFile(const StoredEntry& a, const StoredEntry& b) {
  return a.attributes.st_dev == b.attributes.st_dev && a.attributes.st_ino == b.attributes.st_ino;
}

}  // namespace

Result<Filesystem::Place> Filesystem::PlaceAt(NodeId parent, const std::string& name) {
  XZFS_ASSIGN_OR_RETURN(const NodePtr dir, FindNode(parent));
  if (dir->kind != StoredKind::kDirectory) {
    return Fail(ENOTDIR, nodes_.PathOf(parent) + " is not a directory");
  }
  if (name.size() > NAME_MAX) {
    return Fail(ENAMETOOLONG, "a name of " + std::to_string(name.size()) + " bytes");
  }
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos) {
    return Fail(EINVAL, "'" + name + "' is no name");
  }
  if (parent == kRootNode && name == kPrivateFolder) {
    return Fail(EPERM, "the name .xzfs is the mount's own");
  }
  XZFS_ASSIGN_OR_RETURN(DescriptorPtr descriptor, OpenNode(dir));
  return Place{dir, std::move(descriptor), name};
}

Result<std::optional<StoredEntry>> Filesystem::EntryAt(const Place& place) {
  auto entry = names_.Lookup(place.fd(), place.name);
  if (!entry) {
    return entry.error().code == ENOENT ? Result<std::optional<StoredEntry>>(std::nullopt)
                                        : tl::unexpected(entry.error());
  }
  return std::optional(std::move(*entry));
}

// The name under which `entry` is to be stored in `place`, to be shown with its name. `replaced`:
// what has that name now and goes; may be null.
Result<std::string> Filesystem::StoredNameFor(const Place& place, const StoredEntry& entry,
                                              const StoredEntry* replaced) {
  const std::string& logical = place.name;
  const std::string hot = HotNameOf(logical);
  std::string stored = logical;
  size_t longest = 0;
  switch (entry.kind) {
    case StoredKind::kPlain:
    case StoredKind::kCompressed: {
      const std::string cold = ColdNameOf(logical, entry.format);
      longest = std::max(hot.size(), cold.size());  // each may become the other
      stored = entry.kind == StoredKind::kPlain ? hot : cold;
      break;
    }
    case StoredKind::kStrippedLink:
      stored = ColdNameOf(logical, Format::kXz);
      break;
    case StoredKind::kSymlink:
      stored = hot;
      break;
    case StoredKind::kDirectory:
    case StoredKind::kSpecial: {
      // Themselves, unless a cold file is stored under that very name.
      struct stat st = {};
      const bool is_replaced = replaced != nullptr && replaced->stored_name == logical;
      if (hot != logical && !is_replaced && os_.StatAt(place.fd(), logical, &st) == 0 &&
          st.st_ino != entry.attributes.st_ino) {
        stored = hot;
      }
      break;
    }
  }
  if (std::max(longest, stored.size()) > NAME_MAX) {
    return Fail(ENAMETOOLONG, "'" + logical + "' would be stored under too long a name");
  }
  return stored;
}

Result<LookupResult> Filesystem::RegisterNew(const Place& place, const std::string& stored_name) {
  XZFS_ASSIGN_OR_RETURN(auto entry, names_.Show(place.fd(), stored_name));
  if (!entry) {
    return Fail(ENOENT, "'" + stored_name + "' vanished");
  }
  return Register(place.dir->id, std::move(*entry));
}

// A default ACL of the directory takes the place of the umask.
mode_t Filesystem::MaskedMode(const Place& place, mode_t mode, const Caller& caller) {
  if ((mode & caller.umask) != 0 &&
      os_.GetXattrAt(place.fd(), ".", "system.posix_acl_default", {}) > 0) {
    return mode;
  }
  return mode & ~caller.umask;
}

Result<LookupResult> Filesystem::Create(NodeId parent, const std::string& name, mode_t mode,
                                        int flags, const Caller& caller,
                                        std::unique_ptr<OpenFile>* file) {
  XZFS_RETURN_IF_ERROR(RequireWritable());
  LookupResult found;
  DescriptorPtr hot;  // if it is new
  {
    SharedLock names(namespace_);
    XZFS_ASSIGN_OR_RETURN(const Place place, PlaceAt(parent, name));
    XZFS_ASSIGN_OR_RETURN(auto entry, EntryAt(place));
    if (entry && (flags & O_EXCL) != 0) {
      return Fail(EEXIST, "'" + name + "' exists");
    }
    if (entry) {
      XZFS_ASSIGN_OR_RETURN(found, Register(parent, std::move(*entry)));
    } else {
      XZFS_ASSIGN_OR_RETURN(const std::string stored, StoredNameFor(place, {}, nullptr));
      const mode_t masked = MaskedMode(place, mode & 07777, caller);
      const AsCaller as_caller(caller);
      const int fd =
          os_.OpenBeneath(place.fd(), stored, O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, masked);
      if (fd < 0) {
        return FailErrno(-fd, "create '" + stored + "'");
      }
      Descriptor made(os_, fd);
      XZFS_ASSIGN_OR_RETURN(found, RegisterNew(place, stored));
      hot = std::make_shared<SharedDescriptor>(std::move(made));
    }
  }
  const int open_flags = flags & ~(O_CREAT | O_EXCL | (hot != nullptr ? O_TRUNC : 0));
  bool keep_cache = false;
  auto opened = OpenWith(found.node, open_flags, hot, &keep_cache);
  if (!opened) {
    Forget(found.node, 1);
    return tl::unexpected(opened.error());
  }
  *file = std::move(*opened);
  return found;
}

Result<LookupResult> Filesystem::MakeNode(NodeId parent, const std::string& name, mode_t mode,
                                          dev_t device, const Caller& caller) {
  XZFS_RETURN_IF_ERROR(RequireWritable());
  SharedLock names(namespace_);
  XZFS_ASSIGN_OR_RETURN(const Place place, PlaceAt(parent, name));
  XZFS_RETURN_IF_ERROR(RequireFree(place));
  StoredEntry kind;
  kind.kind = S_ISREG(mode) ? StoredKind::kPlain : StoredKind::kSpecial;
  XZFS_ASSIGN_OR_RETURN(const std::string stored, StoredNameFor(place, kind, nullptr));
  {
    const AsCaller as_caller(S_ISCHR(mode) || S_ISBLK(mode) ? Caller{} : caller);
    const int error = os_.MakeNode(place.fd(), stored, MaskedMode(place, mode, caller), device);
    if (error < 0) {
      return FailErrno(-error, "mknod '" + stored + "'");
    }
  }
  return RegisterNew(place, stored);
}

Result<LookupResult> Filesystem::MakeDirectory(NodeId parent, const std::string& name, mode_t mode,
                                               const Caller& caller) {
  XZFS_RETURN_IF_ERROR(RequireWritable());
  SharedLock names(namespace_);
  XZFS_ASSIGN_OR_RETURN(const Place place, PlaceAt(parent, name));
  XZFS_RETURN_IF_ERROR(RequireFree(place));
  StoredEntry kind;
  kind.kind = StoredKind::kDirectory;
  XZFS_ASSIGN_OR_RETURN(const std::string stored, StoredNameFor(place, kind, nullptr));
  {
    const AsCaller as_caller(caller);
    const int error = os_.MakeDir(place.fd(), stored, MaskedMode(place, mode, caller));
    if (error < 0) {
      return FailErrno(-error, "mkdir '" + stored + "'");
    }
  }
  return RegisterNew(place, stored);
}

Result<LookupResult> Filesystem::MakeSymlink(NodeId parent, const std::string& name,
                                             const std::string& target, const Caller& caller) {
  XZFS_RETURN_IF_ERROR(RequireWritable());
  SharedLock names(namespace_);
  XZFS_ASSIGN_OR_RETURN(const Place place, PlaceAt(parent, name));
  XZFS_RETURN_IF_ERROR(RequireFree(place));
  StoredEntry kind;
  kind.kind = StoredKind::kSymlink;
  XZFS_ASSIGN_OR_RETURN(const std::string stored, StoredNameFor(place, kind, nullptr));
  {
    const AsCaller as_caller(caller);
    if (const int error = os_.MakeSymlink(target, place.fd(), stored); error < 0) {
      return FailErrno(-error, "symlink '" + stored + "'");
    }
  }
  return RegisterNew(place, stored);
}

Status Filesystem::RequireFree(const Place& place) {
  XZFS_ASSIGN_OR_RETURN(const auto entry, EntryAt(place));
  return entry ? Status(Fail(EEXIST, "'" + place.name + "' exists")) : Status();
}

Result<LookupResult> Filesystem::Link(NodeId id, NodeId parent, const std::string& name) {
  XZFS_RETURN_IF_ERROR(RequireWritable());
  ExclusiveLock names(namespace_);
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, FindNode(id));
  XZFS_ASSIGN_OR_RETURN(const Place place, PlaceAt(parent, name));
  XZFS_RETURN_IF_ERROR(RequireFree(place));
  std::string from;
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr dir, OpenParent(node, &from));
  XZFS_RETURN_IF_ERROR(StatName(*node, dir->descriptor.get(), from));
  StoredEntry kind;
  kind.kind = node->kind;
  kind.format = node->format;
  XZFS_ASSIGN_OR_RETURN(const std::string stored, StoredNameFor(place, kind, nullptr));
  if (node->state != nullptr) {
    MutexLock lock(node->state->mutex);
    XZFS_RETURN_IF_ERROR(CancelCommit(node, *node->state));
  }
  if (const int error = os_.Link(dir->descriptor.get(), from, place.fd(), stored); error < 0) {
    return FailErrno(-error, "link '" + stored + "'");
  }
  XZFS_RETURN_IF_ERROR(Refresh(node));
  return RegisterNew(place, stored);
}

// Whoever has the file open goes on with a descriptor, and an overlay is told that its base goes.
// A name that another file takes over is never missing, not even to who has looked it up just
// before and opens it now.
Result<Filesystem::Victim> Filesystem::PrepareRemoval(const Place& place, const StoredEntry& entry,
                                                      bool is_replaced) {
  Victim victim;
  victim.node = nodes_.FindBy(entry.kind, entry.format, Identity::Of(entry.attributes));
  victim.location = {place.dir->id, entry.stored_name};
  victim.last_name = entry.kind == StoredKind::kDirectory || entry.attributes.st_nlink <= 1;
  if (victim.node == nullptr || entry.kind == StoredKind::kDirectory) {
    return victim;
  }
  const NodePtr& node = victim.node;
  bool may_be_opened = is_replaced;
  if (node->state != nullptr) {
    MutexLock lock(node->state->mutex);
    XZFS_RETURN_IF_ERROR(CancelCommit(node, *node->state));
    may_be_opened = is_replaced && node->state->overlay == nullptr;
  }
  const bool regular = node->kind == StoredKind::kPlain || node->kind == StoredKind::kCompressed;
  if (regular && (!victim.last_name || nodes_.IsOpen(node->id) || may_be_opened)) {
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
    files_.Pin(node->id, victim.open);
  }
  if (node->state != nullptr) {
    MutexLock lock(node->state->mutex);
    if (node->state->overlay != nullptr) {
      // Should the removal fail, the base is still there, and the note means nothing.
      XZFS_RETURN_IF_ERROR(node->state->overlay->NoteDropped());
    }
  }
  return victim;
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
  if (victim.node->state != nullptr) {
    FileState& state = *victim.node->state;
    MutexLock lock(state.mutex);
    state.unlinked = true;
    if (!nodes_.IsOpen(id)) {
      DropOverlay(id, state);
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

// The node is not kept for it any more.
void Filesystem::DetachOverlay(NodeId id, FileState& state) {
  if (state.overlay != nullptr) {
    {
      MutexLock lock(edited_mutex_);
      const auto it = edited_.find(state.overlay->base().inode);
      if (it != edited_.end() && it->second == id) {
        edited_.erase(it);
      }
    }
    state.overlay = nullptr;
    state.session = nullptr;
    Forget(id, 1);
  }
}

Status Filesystem::Unlink(NodeId parent, const std::string& name) {
  XZFS_RETURN_IF_ERROR(RequireWritable());
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
  XZFS_RETURN_IF_ERROR(RemoveHiddenTwin(place.fd(), *entry));
  if (const int error = os_.Unlink(place.fd(), entry->stored_name, 0); error < 0) {
    UndoRemoval(victim);
    return FailErrno(-error, "unlink '" + entry->stored_name + "'");
  }
  FinishRemoval(victim);
  return {};
}

// `twin` is a compressed file that isn't shown as its plain file is there: a commit was cut off. It
// is done again.
Status Filesystem::CleanTwin(const NodePtr& dir, const DescriptorPtr& descriptor,
                             const std::string& twin) {
  const auto stripped = StripSuffix(twin);
  if (options_.read_only || !stripped || stripped->suffix != Suffix::kXz) {
    return {};
  }
  XZFS_ASSIGN_OR_RETURN(StoredEntry entry,
                        names_.Lookup(descriptor->descriptor.get(), stripped->logical));
  if (entry.kind != StoredKind::kPlain) {
    return {};
  }
  const auto size = static_cast<uint64_t>(entry.attributes.st_size);
  XZFS_ASSIGN_OR_RETURN(const LookupResult found, Register(dir->id, std::move(entry)));
  if (const auto node = WithState(found.node)) {
    MutexLock lock((*node)->state->mutex);
    if ((*node)->state->job == nullptr) {  // else it is being committed just now
      (*node)->state->changed = true;
      committer_.Add(found.node, size);
    }
  }
  Forget(found.node, 1);
  return {};
}

// With its plain file gone it would be shown in its place.
Status Filesystem::RemoveHiddenTwin(int dir, const StoredEntry& entry) {
  if (entry.kind != StoredKind::kPlain) {
    return {};
  }
  XZFS_ASSIGN_OR_RETURN(const bool has_twin, names_.HasTwin(dir, entry));
  if (has_twin) {
    // A commit of another mount that is at work has the plain file locked, and sees to its twin.
    const Descriptor plain(os_,
                           os_.OpenBeneath(dir, entry.stored_name, O_RDONLY | O_NONBLOCK));
    if (plain.valid() && os_.Lock(plain.get(), /*wait=*/false) == -EWOULDBLOCK) {
      return {};
    }
    const std::string twin = ColdNameOf(entry.logical_name, Format::kXz);
    if (const int error = os_.Unlink(dir, twin, 0); error < 0 && error != -ENOENT) {
      return FailErrno(-error, "unlink the twin '" + twin + "'");
    }
  }
  return {};
}

Status Filesystem::RemoveDirectory(NodeId parent, const std::string& name) {
  XZFS_RETURN_IF_ERROR(RequireWritable());
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
  if (const int error = os_.Unlink(place.fd(), entry->stored_name, AT_REMOVEDIR); error < 0) {
    return FailErrno(-error, "rmdir '" + entry->stored_name + "'");
  }
  FinishRemoval(victim);
  return {};
}

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
      XZFS_RETURN_IF_ERROR(RemoveHiddenTwin(to.fd(), *target));
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
    XZFS_ASSIGN_OR_RETURN(const Victim victim,
                          PrepareRemoval(to, *target, /*is_replaced=*/true));
    XZFS_RETURN_IF_ERROR(RemoveHiddenTwin(to.fd(), *target));
    // A plain file has its name at once, whatever else is there. Another one has it only when the
    // second step is done.
    const Status replaced =
        RunSteps({{&from, moved->stored_name, &to, stored, moved->attributes.st_ino},
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
      // The first step changed nothing yet; a later one is undone by going back. If that fails, too,
      // the next lookup tries it again, or else the next mount completes the operation.
      HalfDone half{{}, session, name};
      for (size_t done = i; done-- > 0;) {
        half.steps.push_back({steps[done].from->descriptor, steps[done].from_name,
                              steps[done].to->descriptor, steps[done].to_name,
                              steps[done].inode});
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
