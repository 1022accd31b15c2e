// A change is acknowledged in this order: data file, log, content in memory. So the log never lists
// bytes that aren't in the data file. Bytes in the data file that the log doesn't list don't count:
// no read returns them, whatever a failed change has left there. A data file that was cut is the
// exception, and logged_content.cc says how the log makes up for it.
//
// A sync has this order: data file, a Synced record, log. So a power cut leaves a log that is not
// believed beyond what was in the data file.
//
// Creating: the data file comes first, then the log. Removing: the log is removed first. So a crash
// may leave data without a log, which means nothing.
#include "store/overlay.h"

#include <fcntl.h>
#include <linux/falloc.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <utility>

#include "base/try.h"
#include "store/names.h"

namespace xzfs {
namespace {

constexpr uint64_t kMostSize = std::numeric_limits<int64_t>::max();

// A new data file: all of it is a hole.
Status PrepareData(const OverlayFiles& files, int data, uint64_t size,
                   const struct timespec times[2]) {
  int error = files.os().Truncate(data, size);
  if (error == 0) {
    error = files.os().FSetTimes(data, times);
  }
  return error < 0 ? FailErrno(-error, "make an overlay") : Status();
}

Status ZeroData(const OverlayFiles& files, int data, uint64_t offset, uint64_t length) {
  constexpr int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  const int error = files.os().Allocate(data, kPunch, offset, length);
  if (error == -EOPNOTSUPP || error == -ENOSYS) {
    const std::vector<std::byte> zeros(std::min<uint64_t>(length, uint64_t{1} << 20));
    for (uint64_t done = 0; done < length;) {
      const size_t part = std::min<uint64_t>(zeros.size(), length - done);
      XZFS_RETURN_IF_ERROR(files.Write(data, std::span(zeros).first(part), offset + done));
      done += part;
    }
    return {};
  }
  return error < 0 ? FailErrno(-error, "punch a hole into the overlay " + files.id()) : Status();
}

}  // namespace

Overlay::Overlay(Os& os, int folder, std::string id, std::shared_ptr<OverlayFileCache> cache)
    : files_(std::make_shared<OverlayFiles>(os, folder, std::move(id), std::move(cache))),
      syncs_(*files_),
      logged_(*files_, syncs_, changes_) {}

Overlay::~Overlay() { files_->LeaveCache(); }

Result<std::unique_ptr<Overlay>> Overlay::Create(Os& os, int folder, std::string id,
                                                 const OverlayBase& base, std::string_view boot_id,
                                                 const struct timespec times[2],
                                                 std::shared_ptr<OverlayFileCache> cache) {
  auto overlay = std::unique_ptr<Overlay>(new Overlay(os, folder, std::move(id), std::move(cache)));
  OverlayFiles& files = *overlay->files_;
  XZFS_ASSIGN_OR_RETURN(const OverlayFiles::Ref data, files.Create(OverlayFiles::kData));
  const auto begin = [&](Overlay& made) -> Status {
    MutexLock lock(made.mutex_);
    XZFS_RETURN_IF_ERROR(files.Create(OverlayFiles::kLog));
    XZFS_RETURN_IF_ERROR(PrepareData(files, data->get(), base.plain_size, times));
    return made.logged_.Begin(base, boot_id);
  };
  if (const Status begun = begin(*overlay); !begun) {
    (void)overlay->Remove();
    return Failure(begun.error());
  }
  return overlay;
}

Result<std::unique_ptr<Overlay>> Overlay::Load(Os& os, int folder, std::string id,
                                               std::string_view boot_id,
                                               std::shared_ptr<OverlayFileCache> cache) {
  auto overlay = std::unique_ptr<Overlay>(new Overlay(os, folder, std::move(id), std::move(cache)));
  Overlay& loaded = *overlay;
  // A crash may have left them unfinished.
  loaded.files_->DropFresh(OverlayFiles::kLog);
  loaded.files_->DropFresh(OverlayFiles::kData);
  if (Status opened = loaded.files_->OpenBoth(); !opened) {
    // The log is made after the data and removed before it.
    if (opened.error().code == ENOENT) {
      opened.error().kind = ErrorKind::kDamaged;
    }
    return Failure(std::move(opened.error()));
  }
  MutexLock lock(loaded.mutex_);
  XZFS_RETURN_IF_ERROR(loaded.logged_.Load(boot_id));
  return overlay;
}

Result<size_t> Overlay::ReadAt(const RandomAccessFile& base, uint64_t offset,
                               std::span<std::byte> out) const {
  using Run = OverlayContent::Run;
  std::vector<Run> runs;
  {
    MutexLock lock(mutex_);
    runs = logged_.content().Runs(offset, out.size());
  }
  OverlayFiles::Ref data;
  for (const Run& run : runs) {
    std::span<std::byte> part = out.subspan(run.begin - offset, run.end - run.begin);
    if (run.where == Run::Where::kBase) {
      XZFS_RETURN_IF_ERROR(ReadFully(base, run.begin, part));
      continue;
    }
    if (run.where == Run::Where::kData) {
      if (data == nullptr) {
        XZFS_ASSIGN_OR_RETURN(data, files_->Open(OverlayFiles::kData));
      }
      const ssize_t got = files_->os().ReadAll(data->get(), part, run.begin);
      if (got < 0) {
        return FailErrno(static_cast<int>(-got), "read the overlay " + id());
      }
      part = part.subspan(static_cast<size_t>(got));  // the rest has just been cut off
    }
    std::fill(part.begin(), part.end(), std::byte{0});
  }
  return runs.empty() ? size_t{0} : runs.back().end - offset;
}

Status Overlay::Write(uint64_t offset, std::span<const std::byte> bytes) {
  MutexLock lock(mutex_);
  return WriteLocked(offset, bytes);
}

Result<uint64_t> Overlay::Append(std::span<const std::byte> bytes) {
  MutexLock lock(mutex_);
  const uint64_t offset = logged_.content().size();
  XZFS_RETURN_IF_ERROR(WriteLocked(offset, bytes));
  return offset;
}

Status Overlay::WriteLocked(uint64_t offset, std::span<const std::byte> bytes) {
  if (bytes.empty()) {
    return {};
  }
  if (offset > kMostSize || bytes.size() > kMostSize - offset) {
    return Fail(EFBIG, "a write beyond the largest size");
  }
  const uint64_t end = offset + bytes.size();
  XZFS_RETURN_IF_ERROR(logged_.PrepareChange(mutex_));
  if (!logged_.content().Holds(offset, end)) {
    XZFS_RETURN_IF_ERROR(logged_.RequireRoom());
  }
  XZFS_ASSIGN_OR_RETURN(const OverlayFiles::Ref data, files_->Open(OverlayFiles::kData));
  ++changes_;
  Status written = files_->Write(data->get(), bytes, offset);
  if (written) {
    written = logged_.RecordExtent(offset, end);
  }
  if (!written && end > logged_.content().size()) {
    files_->os().Truncate(data->get(),
                          logged_.content().size());  // gives back the space that it took
  }
  return written;
}

Status Overlay::Truncate(uint64_t size) {
  if (size > kMostSize) {
    return Fail(EFBIG, "a size beyond the largest");
  }
  MutexLock lock(mutex_);
  XZFS_RETURN_IF_ERROR(logged_.PrepareChange(mutex_));
  XZFS_RETURN_IF_ERROR(logged_.RequireRoom());
  XZFS_ASSIGN_OR_RETURN(const OverlayFiles::Ref data, files_->Open(OverlayFiles::kData));
  XZFS_ASSIGN_OR_RETURN(const OverlayFiles::Ref log, files_->Open(OverlayFiles::kLog));
  const bool shrinks = size < logged_.content().size();
  if (const int error = files_->os().Truncate(data->get(), size); error < 0) {
    return FailErrno(-error, "truncate the overlay " + id());
  }
  Status noted = logged_.Record(LogResize{size});
  if (!noted && shrinks) {
    logged_.OweResize(size);
  } else if (!noted) {
    files_->os().Truncate(data->get(), logged_.content().size());
  }
  return noted;
}

Status Overlay::Zero(uint64_t offset, uint64_t length) {
  MutexLock lock(mutex_);
  if (offset >= logged_.content().size() || length == 0) {
    return {};
  }
  length = std::min(length, logged_.content().size() - offset);
  XZFS_RETURN_IF_ERROR(logged_.PrepareChange(mutex_));
  if (!logged_.content().Holds(offset, offset + length)) {
    XZFS_RETURN_IF_ERROR(logged_.RequireRoom());
  }
  XZFS_ASSIGN_OR_RETURN(const OverlayFiles::Ref data, files_->Open(OverlayFiles::kData));
  ++changes_;
  XZFS_RETURN_IF_ERROR(ZeroData(*files_, data->get(), offset, length));
  return logged_.RecordExtent(offset, offset + length);
}

uint64_t Overlay::size() const {
  MutexLock lock(mutex_);
  return logged_.content().size();
}

Result<struct stat> Overlay::Stat() const {
  struct stat st = {};
  MutexLock lock(mutex_);
  if (const int error = files_->Stat(&st); error < 0) {
    return FailErrno(-error, "stat the overlay " + id());
  }
  st.st_size = static_cast<off_t>(logged_.content().size());
  return st;
}

Status Overlay::SetTimes(const struct timespec times[2]) {
  MutexLock lock(mutex_);
  if (logged_.content().published_as() && !logged_.content().has_changed_since_publishing()) {
    XZFS_RETURN_IF_ERROR(logged_.PrepareChange(mutex_));
  }
  ++changes_;
  const int error = files_->SetTimes(times);
  return error < 0 ? FailErrno(-error, "set the times of the overlay " + id()) : Status();
}

void Overlay::TouchCtime() {
  ++changes_;
  files_->ChangeMode(kPrivateFileMode);
}

bool Overlay::IsBase(uint64_t begin, uint64_t end) const {
  MutexLock lock(mutex_);
  return logged_.content().IsBase(begin, end);
}

OverlayBase Overlay::base() const {
  MutexLock lock(mutex_);
  return logged_.content().base();
}

Status Overlay::NotePath(std::string path) {
  MutexLock lock(mutex_);
  return logged_.Note(LogPath{std::move(path)}, mutex_);
}

Status Overlay::NoteDropped() { return NoteAndSync(LogDropped{}); }

Status Overlay::NotePublishing(const LogPublishing& as, uint64_t content) {
  if (content != 0) {
    MutexLock lock(mutex_);
    XZFS_RETURN_IF_ERROR(logged_.Note(LogContent{.is_published = 1, .hash = content}, mutex_));
  }
  return NoteAndSync(as);
}

Status Overlay::NoteAndSync(const LogRecord& record) {
  MutexLock lock(mutex_);
  XZFS_RETURN_IF_ERROR(logged_.Note(record, mutex_));
  XZFS_RETURN_IF_ERROR(syncs_.TakeTurn(mutex_));
  Status synced = syncs_.SyncFile(OverlayFiles::kLog, SyncScope::kOnlyData, mutex_);
  syncs_.EndTurn();
  return synced;
}

void Overlay::NoteInode(uint64_t inode) {
  MutexLock lock(mutex_);
  logged_.SetInode(inode);
}

OverlayNotes Overlay::notes() const {
  MutexLock lock(mutex_);
  const OverlayContent& content = logged_.content();
  return {.dropped = content.dropped(),
          .lost_changes = logged_.lost_changes(),
          .published_as = content.published_as(),
          .published_content = content.published_content(),
          .has_changed_since_publishing = content.has_changed_since_publishing()};
}

std::optional<Error> Overlay::sync_error() const {
  MutexLock lock(mutex_);
  return syncs_.error();
}

void Overlay::RebaseOnPublished() {
  MutexLock lock(mutex_);
  logged_.RebaseOnPublished();
}

Status Overlay::Sync(SyncScope scope) {
  MutexLock lock(mutex_);
  if (files_->IsReadOnly()) {
    return {};  // nothing was changed
  }
  XZFS_RETURN_IF_ERROR(logged_.Prepare(mutex_));
  XZFS_RETURN_IF_ERROR(syncs_.TakeTurn(mutex_));
  const uint64_t end = logged_.end();
  const uint64_t changes = changes_;
  if (syncs_.Covers(changes)) {
    syncs_.EndTurn();
    return {};
  }
  Status synced = syncs_.SyncFile(OverlayFiles::kData, scope, mutex_);
  if (synced) {
    synced = logged_.RecordSynced(end);
  }
  if (synced) {
    synced = syncs_.SyncFile(OverlayFiles::kLog, SyncScope::kOnlyData, mutex_);
  }
  if (synced && scope == SyncScope::kAll) {
    syncs_.NoteCovered(changes);
  }
  syncs_.EndTurn();
  return synced;
}

Status Overlay::Renew() {
  MutexLock lock(mutex_);
  syncs_.TakeTurnToRenew(mutex_);
  Status renewed = syncs_.error() ? logged_.WriteAgain() : Status();
  syncs_.EndTurn();
  return renewed;
}

Result<OverlayMove> Overlay::MoveTo(int folder, const std::string& name) {
  MutexLock lock(mutex_);
  logged_.Retire();
  return MoveFiles(*files_, folder, name);
}

void Overlay::LimitLog(uint64_t bytes) {
  MutexLock lock(mutex_);
  logged_.Limit(bytes);
}

Status Overlay::Remove() {
  MutexLock lock(mutex_);
  logged_.Retire();
  files_->Forget();
  for (const auto which : {OverlayFiles::kLog, OverlayFiles::kData}) {
    const int error = files_->os().Unlink(files_->folder(), files_->NameOf(which), 0);
    if (error < 0 && error != -ENOENT) {
      return FailErrno(-error, "remove the overlay " + id());
    }
  }
  return {};
}

}  // namespace xzfs
