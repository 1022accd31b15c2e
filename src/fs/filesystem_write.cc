// Changing the content of files. What is written goes to the plain stored file (hot) or to the
// overlay (edited), at once; committing it is the business of filesystem_commit.cc.
//
// A handle belongs to its node, so each call looks at what the node is now: a file that was hot
// when it was opened may have been committed since (sync_close, with a descriptor that was dup'ed)
// and gets an overlay at the next write.
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/log.h"
#include "fs/filesystem_plain.h"
#include "store/content_hash.h"
#include "store/directory_reader.h"
#include "store/intents.h"
#include "store/kept_times.h"
#include "store/names.h"
#include "store/plain_commit.h"

namespace xzfs {
namespace {

// For where holes are looked for: the bytes of a compressed file are data.
Result<uint64_t> SeekInData(uint64_t offset, uint64_t size, int whence) {
  if (offset >= size) {
    return Fail(ENXIO, "seek behind the end");
  }
  return whence == SEEK_HOLE ? size : offset;
}

}  // namespace

Status Filesystem::RequireWritable() const {
  return options_.read_only ? Status(Fail(EROFS, "the mount is read-only")) : Status();
}

// The node, with a state.
Result<NodePtr> Filesystem::WithState(NodeId id) {
  NodePtr node = nodes_.Find(id);
  if (node != nullptr && node->state == nullptr) {
    node = nodes_.Update(id, [](Node& changed) {
      if (changed.state == nullptr) {  // another thread may have been faster
        changed.state = std::make_shared<FileState>();
      }
    });
  }
  if (node == nullptr) {
    return Fail(ESTALE, "unknown node " + std::to_string(id));
  }
  return node;
}

// Counts a writer, which EndWriting takes back. From here on no commit touches the file, and
// nothing more of it is put into the kernel's page cache: what is just being put there may be of
// before, so the kernel is not to be told of success before that has ended (FuseOperations).
// `new_file`: the plain file, if it was made just now.
Result<NodePtr> Filesystem::BeginWriting(NodeId id, int flags, DescriptorPtr new_file) {
  XZFS_RETURN_IF_ERROR(RequireWritableAt(id));
  XZFS_ASSIGN_OR_RETURN(NodePtr node, WithState(id));
  FileState& state = *node->state;
  ++writers_;  // before the hint is noted
  const auto prepare = [&]() -> Status {
    SharedLock names(namespace_);
    MutexLock lock(state.mutex);
    XZFS_ASSIGN_OR_RETURN(node, FindNode(id));  // what it is now that no commit can end
    if (node->kind != StoredKind::kPlain && node->kind != StoredKind::kCompressed) {
      return Fail(EINVAL, nodes_.PathOf(id) + " is not a regular file");
    }
    if (node->damage) {
      return Fail(node->damage->is_unsupported ? EOPNOTSUPP : node->damage->code,
                  nodes_.PathOf(id) + ": " + node->damage->message);
    }
    if (node->kind == StoredKind::kCompressed && node->format != Format::kXz) {
      return Fail(EROFS, nodes_.PathOf(id) + ": files of the older formats can only be read");
    }
    XZFS_RETURN_IF_ERROR(CancelCommit(node, state));
    XZFS_RETURN_IF_ERROR(HoldDescriptors(node, state));
    if (new_file != nullptr) {
      // Its mode may not allow us to open it again.
      state.hot = std::move(new_file);
      ++state.name_changes;
      state.changed = true;
      state.is_prepared = true;
      NotePending(node);
    } else if (node->kind == StoredKind::kPlain) {
      XZFS_RETURN_IF_ERROR(OpenHot(node, state, (flags & O_APPEND) != 0));
    } else {
      XZFS_RETURN_IF_ERROR(RequireChangeable(node));
    }
    if (!nodes_.Pin(id)) {  // the kernel may tell of the node's end before that of the handle
      return Fail(ESTALE, "unknown node " + std::to_string(id));
    }
    ++state.writers;
    state.may_differ = true;
    return {};
  };
  if (const Status prepared = prepare(); !prepared) {
    MutexLock lock(state.mutex);
    if (state.writers == 0 && !state.unlinked) {
      state.hot = nullptr;
    }
    LetDescriptorsGo(state);
    --writers_;
    return tl::unexpected(prepared.error());
  }
  return node;
}

// Of those that writers need. Refused is who opens, not who has opened already.
Status Filesystem::HoldDescriptors(const NodePtr& node, FileState& state) {
  if (state.held.empty()) {
    const size_t count = node->kind == StoredKind::kPlain ? 1 : 2;
    XZFS_ASSIGN_OR_RETURN(state.held, held_.Hold(count));
  }
  return state.overlay != nullptr && state.writers == 0 ? state.overlay->KeepOpen() : Status();
}

void Filesystem::LetDescriptorsGo(FileState& state) {
  if (state.writers != 0) {
    return;
  }
  if (state.overlay != nullptr) {
    state.overlay->LetClose();
  }
  if (state.hot == nullptr) {
    state.held = {};
  }
}

// `file`: the handle that goes; null if it was counted without one.
void Filesystem::EndWriting(const NodePtr& node, const OpenFile* file) {
  FileState& state = *node->state;
  bool queue = false;
  {
    MutexLock lock(state.mutex);
    state.closing -= file != nullptr && std::exchange(file->closing_, false) ? 1 : 0;
    if (--state.writers != 0) {
      NoteClosing(node->id, state);
    } else {
      if (!state.unlinked) {
        state.hot = nullptr;
        state.is_prepared = false;
        queue = state.changed && state.job == nullptr;
      }
      LetDescriptorsGo(state);
      const NodePtr now = nodes_.Find(node->id);
      state.may_differ =
          state.overlay != nullptr || now == nullptr || now->kind == StoredKind::kPlain;
    }
  }
  if (queue) {
    QueueCommit(node);
  }
  {
    // Not before: who waits for all commits must find it here or in the queue.
    MutexLock lock(state.mutex);
    NoteClosing(node->id, state);
  }
  if (--writers_ == 0 && committer_.is_idle()) {
    ForgetPending();  // it became idle while there was a writer
  }
  Forget(node->id, 1);
}

// The overlay of a cold file, made if it has none.
Result<std::shared_ptr<Overlay>> Filesystem::EditedOverlay(const NodePtr& node, FileState& state) {
  if (state.overlay != nullptr) {
    return state.overlay;
  }
  const ZonePtr zone = nodes_.ZoneOf(node->id);
  XZFS_ASSIGN_OR_RETURN(const std::shared_ptr<Session> session, SessionFor(zone));
  struct stat st = {};
  const bool is_remote = os_.IsRemote(session->folder());
  uint64_t content = 0;
  FileFacts facts;
  if (const DescriptorPtr kept = files_.FindPinned(node->id)) {
    if (const int error = os_.FactsAt(kept->descriptor.get(), "", &facts); error < 0) {
      return FailErrno(-error, "stat " + nodes_.PathOf(node->id));
    }
    st = facts.attributes;
  } else {
    std::string name;
    XZFS_ASSIGN_OR_RETURN(const DescriptorPtr parent, OpenParent(node, &name));
    XZFS_ASSIGN_OR_RETURN(st, StatName(*node, parent->descriptor.get(), name));
    if (IsMountPoint(*zone, parent->descriptor.get(), name)) {
      return Fail(EBUSY, nodes_.PathOf(node->id) + " is a mount point, which nothing can replace");
    }
    if (is_remote) {
      XZFS_ASSIGN_OR_RETURN(content, ContentHashAt(os_, parent->descriptor.get(), name));
    }
    (void)os_.FactsAt(parent->descriptor.get(), name, &facts);
  }
  const Identity identity = Identity::Of(st);
  const int64_t birth_ns = facts.attributes.st_ino == st.st_ino ? facts.birth_ns : 0;
  const struct timespec times[2] = {st.st_atim, st.st_mtim};
  XZFS_ASSIGN_OR_RETURN(auto overlay, Overlay::Create(os_, session->folder(), session->NewId(),
                                                      {.inode = identity.inode,
                                                       .size_bytes = identity.size_bytes,
                                                       .mtime_ns = identity.mtime_ns,
                                                       .birth_ns = birth_ns,
                                                       .plain_size = node->plain_size,
                                                       .path = PathInZone(node->id),
                                                       .content = content},
                                                      boot_id_, times, overlay_files_));
  if (state.unlinked) {
    XZFS_RETURN_IF_ERROR(overlay->NoteDropped());
  }
  if (state.writers != 0) {
    XZFS_RETURN_IF_ERROR(overlay->KeepOpen());
  }
  nodes_.Pin(node->id);  // until DetachOverlay
  AttachOverlay(*node, state, std::move(overlay), session, zone);
  return state.overlay;
}

// The node stays until DetachOverlay. REQUIRES: a lookup is counted for that.
void Filesystem::AttachOverlay(const Node& node, FileState& state, std::shared_ptr<Overlay> overlay,
                               std::shared_ptr<Session> session, ZonePtr zone) {
  state.edited_file = FileId::Of(node.identity);
  {
    MutexLock lock(edited_mutex_);
    edited_.insert_or_assign(state.edited_file, node.id);
  }
  state.session = std::move(session);
  state.zone = std::move(zone);
  state.overlay_holds_node = true;
  state.overlay_is_durable = false;
  ++state.name_changes;  // perhaps it was renamed just before
  state.overlay = std::move(overlay);
}

void Filesystem::NoteHalfOverwritten(const FileId& file) {
  MutexLock lock(edited_mutex_);
  half_overwritten_.insert(file);
  has_half_overwritten_ = true;
}

bool Filesystem::IsHalfOverwritten(const FileId& file) {
  if (!has_half_overwritten_) {
    return false;
  }
  MutexLock lock(edited_mutex_);
  return half_overwritten_.contains(file);
}

tl::unexpected<Error> Filesystem::FailHalfOverwritten(const std::string& path) {
  return Fail(EIO, path +
                       ": its commit failed while it was being overwritten; mount the source "
                       "again, which completes that");
}

// The node of a stored file that has an overlay, though somebody else has changed its mode or given
// it another name.
NodePtr Filesystem::FindEdited(const Identity& identity) {
  NodeId id = 0;
  {
    MutexLock lock(edited_mutex_);
    const auto it = edited_.find(FileId::Of(identity));
    id = it == edited_.end() ? 0 : it->second;
  }
  const NodePtr node = id == 0 ? nullptr : nodes_.Find(id);
  if (node == nullptr || node->kind != StoredKind::kCompressed) {
    return nullptr;
  }
  return identity.HasContentOf(node->identity) ? node : nullptr;
}

bool Filesystem::HasEditedFiles() {
  MutexLock lock(edited_mutex_);
  return !edited_.empty();
}

std::vector<NodeId> Filesystem::EditedFiles() {
  std::vector<NodeId> ids;
  MutexLock lock(edited_mutex_);
  for (const auto& [file, id] : edited_) {
    ids.push_back(id);
  }
  return ids;
}

// What a change goes to. REQUIRES: a writer is counted.
Result<Filesystem::Writable> Filesystem::PrepareChange(NodeId id, const OpenFile* file,
                                                       bool appends) {
  XZFS_RETURN_IF_ERROR(EscapeName(id));
  SharedLock names(namespace_);  // its name may be needed
  XZFS_ASSIGN_OR_RETURN(const NodePtr known, FindNode(id));
  if (known->state == nullptr) {
    return Fail(EBADF, "the file was not opened for writing");
  }
  FileState& state = *known->state;
  MutexLock lock(state.mutex);
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, FindNode(id));
  if (IsHalfOverwritten(FileId::Of(node->identity))) {
    return FailHalfOverwritten(nodes_.PathOf(id));
  }
  // A commit may be at work when a descriptor was closed of which there is another one.
  XZFS_RETURN_IF_ERROR(CancelCommit(node, state));
  if (file != nullptr && std::exchange(file->closing_, false)) {
    --state.closing;
    NoteClosing(id, state);
  }
  DescriptorPtr hot;
  std::shared_ptr<Overlay> overlay;
  if (node->kind == StoredKind::kPlain) {
    XZFS_RETURN_IF_ERROR(PrepareHot(node, state, appends));
    hot = state.hot;
  } else {
    XZFS_ASSIGN_OR_RETURN(overlay, EditedOverlay(node, state));
    state.may_differ = true;
  }
  state.changed = true;
  return Writable{node, std::move(hot), std::move(overlay), state.keeps_name,
                  Changing(known->state)};
}

Result<size_t> Filesystem::Write(const OpenFile& file, uint64_t offset,
                                 std::span<const std::byte> bytes) {
  XZFS_ASSIGN_OR_RETURN(const Writable to, PrepareChange(file.id(), &file));
  if (to.overlay != nullptr) {
    XZFS_RETURN_IF_ERROR(to.overlay->Write(offset, bytes));
    return bytes.size();
  }
  XZFS_RETURN_IF_ERROR(KeepPlainLook(to, [&](Head& head) { head.Put(offset, bytes); }));
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t put = os_.PWrite(to.hot->descriptor.get(), bytes.subspan(done), offset + done);
    if (put < 0 && done == 0) {
      return FailErrno(static_cast<int>(-put), "write " + nodes_.PathOf(file.id()));
    }
    if (put <= 0) {
      break;
    }
    done += static_cast<size_t>(put);
  }
  return done;
}

// The offset that the kernel sends is made of the size that it knows, which is not the real one
// when somebody else writes to the file.
Result<Appended> Filesystem::Append(const OpenFile& file, uint64_t expected,
                                    std::span<const std::byte> bytes) {
  XZFS_ASSIGN_OR_RETURN(const Writable to, PrepareChange(file.id(), &file, /*appends=*/true));
  Appended done;
  if (to.overlay != nullptr) {
    XZFS_ASSIGN_OR_RETURN(const uint64_t at, to.overlay->Append(bytes));
    if (at != expected) {
      done.stale_from = std::min(at, expected);
    }
    done.bytes = bytes.size();
    return done;
  }
  XZFS_RETURN_IF_ERROR(KeepPlainLook(to, [&](Head& head) { head.Put(head.size, bytes); }));
  MutexLock lock(to.hot->position);
  while (done.bytes < bytes.size()) {
    uint64_t end = 0;
    const ssize_t put = os_.Append(to.hot->descriptor.get(), bytes.subspan(done.bytes), &end);
    if (put < 0 && done.bytes == 0) {
      return FailErrno(static_cast<int>(-put), "append to " + nodes_.PathOf(file.id()));
    }
    if (put <= 0) {
      break;
    }
    done.bytes += static_cast<size_t>(put);
    if (end != expected + done.bytes) {
      done.stale_from = std::min(expected, end - static_cast<size_t>(put));
    }
  }
  return done;
}

// REQUIRES: a writer is counted.
Status Filesystem::Resize(NodeId id, uint64_t size, const OpenFile* file) {
  XZFS_ASSIGN_OR_RETURN(const NodePtr known, WithState(id));
  bool keeps_size = false;
  {
    MutexLock lock(known->state->mutex);
    XZFS_ASSIGN_OR_RETURN(const NodePtr now, FindNode(id));
    keeps_size = now->kind == StoredKind::kCompressed && known->state->overlay == nullptr &&
                 now->plain_size == size && size != 0;
  }
  if (keeps_size) {  // it needs no overlay for that
    AttributeChange now;
    now.mtime = {.tv_sec = 0, .tv_nsec = UTIME_NOW};
    return ChangeTimes(known, now);
  }
  XZFS_ASSIGN_OR_RETURN(const Writable to, PrepareChange(id, file));
  if (to.overlay != nullptr) {
    return to.overlay->Truncate(size);
  }
  XZFS_RETURN_IF_ERROR(KeepPlainLook(to, [&](Head& head) { head.Resize(size); }));
  if (const int error = os_.Truncate(to.hot->descriptor.get(), size); error < 0) {
    return FailErrno(-error, "truncate " + nodes_.PathOf(id));
  }
  return {};
}

Status Filesystem::Allocate(const OpenFile& file, int mode, uint64_t offset, uint64_t length) {
  const bool appends = (file.flags() & O_APPEND) != 0;
  XZFS_ASSIGN_OR_RETURN(const Writable to, PrepareChange(file.id(), &file, appends));
  if (to.overlay == nullptr) {
    XZFS_RETURN_IF_ERROR(
        KeepPlainLook(to, [&](Head& head) { head.Allocate(mode, offset, length); }));
    const int error = os_.Allocate(to.hot->descriptor.get(), mode, offset, length);
    return error < 0 ? FailErrno(-error, "fallocate " + nodes_.PathOf(file.id())) : Status();
  }
  constexpr int kKnown = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
  if ((mode & ~kKnown) != 0) {
    return Fail(EOPNOTSUPP, "fallocate mode " + std::to_string(mode) + " of a compressed file");
  }
  if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0) {
    XZFS_RETURN_IF_ERROR(to.overlay->Zero(offset, length));
  }
  if ((mode & FALLOC_FL_KEEP_SIZE) == 0 && offset + length > to.overlay->size()) {
    XZFS_RETURN_IF_ERROR(to.overlay->Truncate(offset + length));
  }
  // Also if it was all there.
  const struct timespec now[2] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT},
                                  {.tv_sec = 0, .tv_nsec = UTIME_NOW}};
  return to.overlay->SetTimes(now);
}

Result<uint64_t> Filesystem::Seek(const OpenFile& file, uint64_t offset, int whence) {
  if (whence != SEEK_DATA && whence != SEEK_HOLE) {
    return Fail(EINVAL, "lseek");
  }
  SharedLock names(namespace_);
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, FindNode(file.id()));
  if (node->kind == StoredKind::kCompressed) {
    XZFS_ASSIGN_OR_RETURN(struct stat st, StatNode(node));
    XZFS_RETURN_IF_ERROR(ShowAttributes(*node, &st));
    return SeekInData(offset, static_cast<uint64_t>(st.st_size), whence);
  }
  DescriptorPtr open = KeptDescriptor(node);
  if (open == nullptr) {
    XZFS_ASSIGN_OR_RETURN(open, OpenNode(node));
  }
  MutexLock lock(open->position);
  const int64_t at = os_.Seek(open->descriptor.get(), static_cast<int64_t>(offset), whence);
  if (at < 0) {
    return FailErrno(static_cast<int>(-at), "lseek " + nodes_.PathOf(node->id));
  }
  return static_cast<uint64_t>(at);
}

// The release comes later than this, and after close has returned. So this is what counts for who
// waits for a commit; a write through another descriptor of the handle takes it back.
Result<bool> Filesystem::Flush(const OpenFile& file) {
  if (!file.may_write()) {
    return false;
  }
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, WithState(file.id()));
  FileState& state = *node->state;
  MutexLock lock(state.mutex);
  state.closing += std::exchange(file.closing_, true) ? 0 : 1;
  NoteClosing(file.id(), state);
  const bool is_last = state.closing == state.writers && state.changed && !state.unlinked;
  return is_last && options_.sync_close && options_.compress != Compress::kOff;
}

void Filesystem::CommitNow(NodeId id, const Committer::Done& done) {
  const NodePtr node = nodes_.Find(id);
  committer_.CommitNow(id, node == nullptr ? 0 : PlainSize(node), done);
}

}  // namespace xzfs
