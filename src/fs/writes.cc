// Changing the content of files. Written bytes go at once to the stored file itself (plain) or to
// the overlay (edited). Commits compresses them later.
//
// A handle belongs to its node, so each call checks the node's present state. A file that was plain
// when it was opened may have been committed since (with sync_close and a dup'ed descriptor), and
// gets an overlay at the next write.
#include "fs/writes.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/log.h"
#include "base/try.h"
#include "store/overlay.h"

namespace xzfs {
namespace {

// For SEEK_DATA and SEEK_HOLE: all bytes of a compressed file are data.
Result<uint64_t> SeekInData(uint64_t offset, uint64_t size, int whence) {
  if (offset >= size) {
    return Fail(ENXIO, "seek behind the end");
  }
  return whence == SEEK_HOLE ? size : offset;
}

}  // namespace

Result<NodePtr> Writes::BeginWriting(NodeId id, int flags, DescriptorPtr new_file) {
  XZFS_RETURN_IF_ERROR(parts_.zones.RequireWritableAt(id));
  XZFS_ASSIGN_OR_RETURN(NodePtr node, parts_.tree.WithState(id));
  FileState& state = *node->state;
  parts_.pending.AddWriter();  // before the file is noted
  const auto prepare = [&]() -> Status {
    SharedLock names(namespace_);
    FileLock lock(state);
    XZFS_ASSIGN_OR_RETURN(
        node, parts_.tree.FindNode(id));  // its present state: no commit can end any more
    if (node->kind != StoredKind::kPlain && node->kind != StoredKind::kCompressed) {
      return Fail(EINVAL, nodes_.PathOf(id) + " is not a regular file");
    }
    if (node->damage) {
      return Fail(node->damage->kind == ErrorKind::kUnsupported ? EOPNOTSUPP : node->damage->code,
                  nodes_.PathOf(id) + ": " + node->damage->message);
    }
    if (node->kind == StoredKind::kCompressed && node->format != Format::kXz) {
      return Fail(EROFS, nodes_.PathOf(id) + ": files of the older formats can only be read");
    }
    XZFS_RETURN_IF_ERROR(parts_.unfinished.Cancel(node, state));
    XZFS_RETURN_IF_ERROR(HoldDescriptors(node, state));
    if (new_file != nullptr) {
      // Its mode may forbid opening it again.
      state.CreatePlain(std::move(new_file));
      parts_.pending.Note(node);
    } else if (node->kind == StoredKind::kPlain) {
      XZFS_RETURN_IF_ERROR(parts_.plain_files.Open(
          node, state, (flags & O_APPEND) != 0 ? WritePlace::kAtEnd : WritePlace::kAnywhere));
    } else {
      XZFS_RETURN_IF_ERROR(parts_.overlays.RequireChangeable(node));
    }
    if (!nodes_.Pin(id)) {  // the kernel may send FORGET before RELEASE
      return Fail(ESTALE, "unknown node " + std::to_string(id));
    }
    state.AddWriter();
    return {};
  };
  if (const Status prepared = prepare(); !prepared) {
    FileLock lock(state);
    if (state.writers() == 0 && !state.unlinked()) {
      state.ClosePlain();
    }
    state.LetDescriptorsGo();
    parts_.pending.RemoveWriter();
    return Failure(prepared.error());
  }
  return node;
}

// Reserves the descriptors that a writer needs. So an open fails, and not a later write.
Status Writes::HoldDescriptors(const NodePtr& node, FileState& state) {
  if (state.needs_descriptors()) {
    const size_t count = node->kind == StoredKind::kPlain ? 1 : 2;
    XZFS_ASSIGN_OR_RETURN(auto held, parts_.held.Hold(count));
    state.Hold(std::move(held));
  }
  return state.overlay() != nullptr && state.writers() == 0 ? state.overlay()->files().KeepOpen()
                                                            : Status();
}

void Writes::EndWriting(const NodePtr& node, const OpenFile* file) {
  FileState& state = *node->state;
  bool queue = false;
  uint64_t written = 0;
  {
    FileLock lock(state);
    const NodePtr now = nodes_.Find(node->id);
    const bool is_compressed = now != nullptr && now->kind == StoredKind::kCompressed;
    queue = state.RemoveWriter(file != nullptr && file->SetClosing(false), is_compressed);
    if (state.writers() != 0) {
      parts_.requests.NoteClosing(node->id, state);
    } else {
      written = state.TakeWritten();
    }
  }
  if (written != 0) {
    parts_.requests.NoteWritten(node, written);
  }
  if (queue) {
    parts_.requests.Queue(node);
  }
  {
    // Not earlier: a program that waits for all commits must find the file here or in the queue.
    FileLock lock(state);
    parts_.requests.NoteClosing(node->id, state);
  }
  if (parts_.pending.RemoveWriter() && parts_.committer.is_idle()) {
    parts_.pending.DropIfIdle();  // the queue may have become empty while there was a writer
  }
  parts_.tree.Forget(node->id, 1);
}

void Writes::EndHandles() {
  for (const NodeId id : nodes_.FileIds()) {
    const NodePtr node = nodes_.Find(id);
    if (node == nullptr || node->state == nullptr) {
      continue;
    }
    FileState& state = *node->state;
    FileLock lock(state);
    if (state.unlinked()) {
      parts_.edited.Drop(id, state);
    } else if (state.writers() != 0) {
      state.CloseAll();
      parts_.requests.NoteClosing(id, state);
    }
  }
}

// Returns the target of a change. `written_bytes`: how much of the file's content it replaces.
// REQUIRES: a writer is counted.
Result<Writes::Writable> Writes::PrepareChange(NodeId id, const OpenFile* file, WritePlace place,
                                               uint64_t written_bytes) {
  XZFS_RETURN_IF_ERROR(parts_.plain_files.EscapeName(id));
  SharedLock names(namespace_);  // its name may be needed
  XZFS_ASSIGN_OR_RETURN(const NodePtr known, parts_.tree.FindNode(id));
  if (known->state == nullptr) {
    return Fail(EBADF, "the file was not opened for writing");
  }
  FileState& state = *known->state;
  FileLock lock(state);
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, parts_.tree.FindNode(id));
  if (parts_.edited.IsHalfOverwritten(FileId::Of(node->identity))) {
    return EditedFiles::FailHalfOverwritten(nodes_.PathOf(id));
  }
  // A commit may be running if one of several dup'ed descriptors was closed.
  XZFS_RETURN_IF_ERROR(parts_.unfinished.Cancel(node, state));
  if (file != nullptr && file->SetClosing(false)) {
    state.NoteClosing(false);
    parts_.requests.NoteClosing(id, state);
  }
  DescriptorPtr plain;
  std::shared_ptr<Overlay> overlay;
  if (node->kind == StoredKind::kPlain) {
    XZFS_RETURN_IF_ERROR(parts_.plain_files.Prepare(node, state, place));
    plain = state.plain().file;
    state.NoteWritten(written_bytes);
  } else {
    XZFS_ASSIGN_OR_RETURN(overlay, parts_.overlays.EditedOverlay(node, state));
    state.NoteMayDiffer();
  }
  state.NoteChange();
  return Writable{node, std::move(plain), std::move(overlay), state.plain().keeps_name,
                  FileChange(known->state)};
}

Result<size_t> Writes::Write(const OpenFile& file, uint64_t offset,
                             std::span<const std::byte> bytes) {
  XZFS_ASSIGN_OR_RETURN(const Writable to,
                        PrepareChange(file.id(), &file, WritePlace::kAnywhere, bytes.size()));
  if (to.overlay != nullptr) {
    XZFS_RETURN_IF_ERROR(to.overlay->Write(offset, bytes));
    return bytes.size();
  }
  XZFS_RETURN_IF_ERROR(KeepPlainLook(to, [&](FileHead& head) { head.Put(offset, bytes); }));
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t put =
        parts_.os.PWrite(to.plain->descriptor.get(), bytes.subspan(done), offset + done);
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

// The kernel computes the offset from the size that it knows. That is not the real size if another
// program writes to the file.
Result<Appended> Writes::Append(const OpenFile& file, uint64_t expected,
                                std::span<const std::byte> bytes) {
  XZFS_ASSIGN_OR_RETURN(const Writable to,
                        PrepareChange(file.id(), &file, WritePlace::kAtEnd, bytes.size()));
  Appended done;
  if (to.overlay != nullptr) {
    XZFS_ASSIGN_OR_RETURN(const uint64_t at, to.overlay->Append(bytes));
    if (at != expected) {
      done.stale_from = std::min(at, expected);
    }
    done.bytes = bytes.size();
    return done;
  }
  XZFS_RETURN_IF_ERROR(KeepPlainLook(to, [&](FileHead& head) { head.Put(head.size, bytes); }));
  MutexLock lock(to.plain->position);
  while (done.bytes < bytes.size()) {
    uint64_t end = 0;
    const ssize_t put =
        parts_.os.Append(to.plain->descriptor.get(), bytes.subspan(done.bytes), &end);
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
Status Writes::Resize(NodeId id, uint64_t size, const OpenFile* file) {
  XZFS_ASSIGN_OR_RETURN(const NodePtr known, parts_.tree.WithState(id));
  bool keeps_size = false;
  {
    FileLock lock(*known->state);
    XZFS_ASSIGN_OR_RETURN(const NodePtr now, parts_.tree.FindNode(id));
    keeps_size = now->kind == StoredKind::kCompressed && known->state->overlay() == nullptr &&
                 now->plain_size() == size && size != 0;
  }
  if (keeps_size) {  // that needs no overlay
    AttributeChange now;
    now.mtime = {.tv_sec = 0, .tv_nsec = UTIME_NOW};
    return parts_.attributes.ChangeTimes(known, now);
  }
  XZFS_ASSIGN_OR_RETURN(const Writable to, PrepareChange(id, file));
  if (to.overlay != nullptr) {
    return to.overlay->Truncate(size);
  }
  XZFS_RETURN_IF_ERROR(KeepPlainLook(to, [&](FileHead& head) { head.Resize(size); }));
  if (const int error = parts_.os.Truncate(to.plain->descriptor.get(), size); error < 0) {
    return FailErrno(-error, "truncate " + nodes_.PathOf(id));
  }
  return {};
}

Status Writes::Allocate(const OpenFile& file, int mode, uint64_t offset, uint64_t length) {
  const bool appends = (file.flags() & O_APPEND) != 0;
  XZFS_ASSIGN_OR_RETURN(
      const Writable to,
      PrepareChange(file.id(), &file, appends ? WritePlace::kAtEnd : WritePlace::kAnywhere,
                    (mode & ~FALLOC_FL_KEEP_SIZE) != 0 ? length : 0));
  if (to.overlay == nullptr) {
    XZFS_RETURN_IF_ERROR(
        KeepPlainLook(to, [&](FileHead& head) { head.Allocate(mode, offset, length); }));
    const int error = parts_.os.Allocate(to.plain->descriptor.get(), mode, offset, length);
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
  // Also if the range was allocated already.
  const struct timespec now[2] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT},
                                  {.tv_sec = 0, .tv_nsec = UTIME_NOW}};
  return to.overlay->SetTimes(now);
}

Result<uint64_t> Writes::Seek(const OpenFile& file, uint64_t offset, int whence) {
  if (whence != SEEK_DATA && whence != SEEK_HOLE) {
    return Fail(EINVAL, "lseek");
  }
  SharedLock names(namespace_);
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, parts_.tree.FindNode(file.id()));
  if (node->kind == StoredKind::kCompressed) {
    XZFS_ASSIGN_OR_RETURN(struct stat st, parts_.tree.StatNode(node));
    XZFS_RETURN_IF_ERROR(parts_.tree.ShowAttributes(*node, &st));
    return SeekInData(offset, static_cast<uint64_t>(st.st_size), whence);
  }
  DescriptorPtr open = parts_.tree.KeptDescriptor(node);
  if (open == nullptr) {
    XZFS_ASSIGN_OR_RETURN(open, parts_.tree.OpenNode(node));
  }
  MutexLock lock(open->position);
  const int64_t at = parts_.os.Seek(open->descriptor.get(), static_cast<int64_t>(offset), whence);
  if (at < 0) {
    return FailErrno(static_cast<int>(-at), "lseek " + nodes_.PathOf(node->id));
  }
  return static_cast<uint64_t>(at);
}

// RELEASE comes after close has returned. So a program that waits for a commit must see the handle
// as closing now. A write through another descriptor of the handle takes that back.
Result<bool> Writes::Flush(const OpenFile& file) {
  if (!file.may_write()) {
    return false;
  }
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, parts_.tree.WithState(file.id()));
  FileState& state = *node->state;
  FileLock lock(state);
  if (!file.SetClosing(true)) {
    state.NoteClosing(true);
  }
  parts_.requests.NoteClosing(file.id(), state);
  const bool is_last = state.is_closing() && !state.unlinked();
  return is_last && parts_.options.sync_close && parts_.options.compress != Compress::kOff;
}

Result<struct stat> Writes::SetAttributes(NodeId id, const AttributeChange& change,
                                          const OpenFile* file) {
  XZFS_RETURN_IF_ERROR(parts_.zones.RequireWritableAt(id));
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, parts_.tree.FindNode(id));
  XZFS_RETURN_IF_ERROR(ChangeStored(node, change));
  if (change.size) {
    if (file != nullptr && file->may_write()) {
      XZFS_RETURN_IF_ERROR(Resize(id, *change.size, file));
    } else {
      XZFS_ASSIGN_OR_RETURN(const NodePtr writing, BeginWriting(id, O_WRONLY));
      const Status resized = Resize(id, *change.size);
      EndWriting(writing);
      XZFS_RETURN_IF_ERROR(resized);
    }
  }
  if (change.atime || change.mtime) {
    XZFS_ASSIGN_OR_RETURN(const NodePtr now, parts_.tree.FindNode(id));
    const bool would_not_shrink = parts_.requests.IsUnshrinkable(now);
    XZFS_RETURN_IF_ERROR(parts_.attributes.ChangeTimes(now, change));
    if (would_not_shrink) {
      parts_.requests.NoteWritten(now, 0);  // its content has not changed
    }
  }
  return parts_.tree.GetAttributes(id);
}

// Changes owner and mode. That may take the set-id bits, which have kept a file plain.
Status Writes::ChangeStored(const NodePtr& node, const AttributeChange& change) {
  constexpr mode_t kSetId = S_ISUID | S_ISGID;
  const bool may_lose =
      node->kind == StoredKind::kPlain && (change.mode || change.uid || change.gid);
  const auto before = may_lose ? parts_.tree.StatNode(node) : Result<struct stat>(node->attributes);
  XZFS_RETURN_IF_ERROR(parts_.attributes.ChangeStored(node, change));
  if (may_lose && before && (before->st_mode & kSetId) != 0) {
    parts_.requests.QueueFreed(node->id);
  }
  return {};
}

Status Writes::KeepPlainLook(const Writable& to, const std::function<void(FileHead&)>& change) {
  return parts_.plain_files.KeepPlainLook(*to.node, *to.plain, to.keeps_name, change);
}

}  // namespace xzfs
