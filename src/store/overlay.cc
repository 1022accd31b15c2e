// A change is acknowledged in this order: data file, log, the picture in memory. So the log never
// tells of bytes that aren't in the data file, and bytes there that it doesn't tell of don't count:
// they are not read, whatever a change that failed has left there.
//
// The one thing that can't be taken back is cutting the data file. A log that doesn't tell of it
// yet owes it (`owed_`): that record goes before any other change. If the process ends before that,
// the data file is shorter than the log says, which happens in no other way.
//
// After a power cut the log may have reached the disk before the data that it tells of. Hence the
// Synced records: written after a sync of the data file, they say up to where the log is to be
// believed in the next boot. A log of another boot is rewritten before anything is added to it.
//
// Removing: the log goes first. Data without a log is nothing.
#include "store/overlay.h"

#include <fcntl.h>
#include <linux/falloc.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "base/try.h"
#include "store/names.h"
#include "store/records.h"

namespace xzfs {
namespace {

constexpr uint64_t kMostSize = std::numeric_limits<int64_t>::max();
// Of the log's limit one part in so many.
constexpr uint64_t kLogReserve = 64;
constexpr uint64_t kExtentRecordBytes = 33;

}  // namespace

Overlay::Overlay(Os& os, int folder, std::string id, std::shared_ptr<OverlayFileCache> cache)
    : os_(os),
      folder_(folder),
      id_(std::move(id)),
      cache_(std::move(cache)),
      files_(std::make_shared<OverlayFiles>(os, folder, id_, cache_)) {}

Overlay::~Overlay() {
  if (cache_ != nullptr) {
    cache_->Remove(*files_);
  }
}

Result<std::unique_ptr<Overlay>> Overlay::Create(Os& os, int folder, std::string id,
                                                 const OverlayBase& base, std::string_view boot_id,
                                                 const struct timespec times[2],
                                                 std::shared_ptr<OverlayFileCache> cache) {
  auto overlay = std::unique_ptr<Overlay>(new Overlay(os, folder, std::move(id), std::move(cache)));
  XZFS_RETURN_IF_ERROR(overlay->files_->Create(OverlayFiles::kData));
  if (const Status begun = overlay->Begin(base, boot_id, times); !begun) {
    (void)overlay->Remove();
    return Failure(begun.error());
  }
  return overlay;
}

Status Overlay::Begin(const OverlayBase& base, std::string_view boot_id,
                      const struct timespec times[2]) {
  MutexLock lock(mutex_);
  XZFS_ASSIGN_OR_RETURN(const OverlayFiles::Ref data, files_->Open(OverlayFiles::kData));
  XZFS_RETURN_IF_ERROR(files_->Create(OverlayFiles::kLog));
  content_ = OverlayContent({.boot_id = std::string(boot_id),
                             .inode = base.inode,
                             .size_bytes = base.size_bytes,
                             .mtime_ns = base.mtime_ns,
                             .plain_size = base.plain_size,
                             .birth_ns = base.birth_ns},
                            base.path, base.content);
  compact_at_ = kLeastCompaction;
  if (const int error = os_.Truncate(data->get(), base.plain_size); error < 0) {
    return FailErrno(-error, "make an overlay");
  }
  if (const int error = os_.FSetTimes(data->get(), times); error < 0) {
    return FailErrno(-error, "make an overlay");
  }
  XZFS_RETURN_IF_ERROR(Append(content_.header()));
  if (base.content != 0) {
    XZFS_RETURN_IF_ERROR(Append(LogContent{.is_published = 0, .hash = base.content}));
  }
  return Append(LogPath{base.path});
}

Result<std::unique_ptr<Overlay>> Overlay::Load(Os& os, int folder, std::string id,
                                               std::string_view boot_id,
                                               std::shared_ptr<OverlayFileCache> cache) {
  auto overlay = std::unique_ptr<Overlay>(new Overlay(os, folder, std::move(id), std::move(cache)));
  // Of what did not end.
  os.Unlink(folder, overlay->id_ + ".log.new", 0);
  os.Unlink(folder, overlay->id_ + ".data.new", 0);
  if (Status opened = overlay->OpenBoth(); !opened) {
    // The log is made after the data and removed before it.
    if (opened.error().code == ENOENT) {
      opened.error().kind = ErrorKind::kDamaged;
    }
    return Failure(std::move(opened.error()));
  }
  XZFS_RETURN_IF_ERROR(overlay->ReadLog(boot_id));
  return overlay;
}

Status Overlay::OpenBoth() {
  MutexLock lock(mutex_);
  Result<OverlayFiles::Ref> data = files_->Open(OverlayFiles::kData);
  read_only_ = !data && data.error().code == EROFS;
  if (read_only_) {
    files_->OnlyRead();
    data = files_->Open(OverlayFiles::kData);
  }
  XZFS_RETURN_IF_ERROR(data);
  XZFS_RETURN_IF_ERROR(files_->Open(OverlayFiles::kLog));
  return {};
}

Result<std::vector<std::byte>> Overlay::LogBytes() const {
  XZFS_ASSIGN_OR_RETURN(const OverlayFiles::Ref file, files_->Open(OverlayFiles::kLog));
  struct stat st = {};
  if (const int error = os_.FStat(file->get(), &st); error < 0) {
    return FailErrno(-error, "stat the overlay's log " + id_);
  }
  if (static_cast<uint64_t>(st.st_size) > most_log_bytes_) {
    return FailErrno(EFBIG, "the overlay's log " + id_ + " is too large");
  }
  std::vector<std::byte> bytes(static_cast<size_t>(st.st_size));
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t got = os_.PRead(file->get(), std::span(bytes).subspan(done), done);
    if (got < 0) {
      return FailErrno(static_cast<int>(-got), "read the overlay's log " + id_);
    }
    if (got == 0) {
      bytes.resize(done);
    }
    done += static_cast<size_t>(got);
  }
  return bytes;
}

Status Overlay::ReadLog(std::string_view boot_id) {
  MutexLock lock(mutex_);
  XZFS_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, LogBytes());
  XZFS_ASSIGN_OR_RETURN(const ParsedLog log, ParseLog(bytes));
  content_ = OverlayContent(std::get<LogHeader>(log.lines.front().record), {}, 0);
  const bool is_of_this_boot = content_.header().boot_id == boot_id;
  uint64_t end = is_of_this_boot ? log.end : 0;
  for (const ParsedLog::Line& line : log.lines) {
    if (const auto* synced = std::get_if<LogSynced>(&line.record)) {
      end = std::max(end, std::min(synced->end, line.end));
    }
  }
  for (const ParsedLog::Line& line : log.lines) {
    // Notes count also if they were not synced: they are checked against what is there.
    const bool is_note = std::holds_alternative<LogPath>(line.record) ||
                         std::holds_alternative<LogDropped>(line.record) ||
                         std::holds_alternative<LogPublishing>(line.record) ||
                         std::holds_alternative<LogContent>(line.record);
    if (line.end <= end || is_note) {
      content_.Replay(line.record);
    } else if (!std::holds_alternative<LogHeader>(line.record) &&
               !std::holds_alternative<LogSynced>(line.record)) {
      lost_changes_ = true;
    }
  }
  log_end_ = log.end;
  compact_at_ = kLeastCompaction;
  content_.SetBoot(boot_id);
  // What follows a torn record must not come back when that has been overwritten.
  XZFS_ASSIGN_OR_RETURN(const OverlayFiles::Ref file, files_->Open(OverlayFiles::kLog));
  const bool is_torn = log.end < bytes.size() && os_.Truncate(file->get(), log.end) < 0;
  log_is_stale_ = !is_of_this_boot || is_torn;
  // After a power cut that holds if the size was ever synced: before that the file may have none.
  if (is_of_this_boot || end > log.lines.front().end) {
    XZFS_RETURN_IF_ERROR(ReadCut());
  }
  if (log_is_stale_ && !read_only_) {
    (void)CompactLog();  // else the next change tries it again
  }
  return {};
}

// Sees whether the data file was cut and the log doesn't tell of it.
Status Overlay::ReadCut() {
  struct stat st = {};
  if (const int error = files_->Stat(&st); error < 0) {
    return FailErrno(-error, "stat the overlay " + id_ + ".data");
  }
  if (const auto size = static_cast<uint64_t>(st.st_size); size < content_.size()) {
    owed_ = LogResize{size};
    content_.Replay(*owed_);
  }
  return {};
}

// Makes the log one that may be added to. Before any change.
Status Overlay::PrepareLog() {
  if (read_only_) {
    return FailErrno(EROFS, "change the overlay " + id_);
  }
  if (log_is_stale_) {
    XZFS_RETURN_IF_ERROR(TakeSyncTurn());
    const Status compacted = log_is_stale_ ? CompactLog() : Status();
    EndSyncTurn();
    XZFS_RETURN_IF_ERROR(compacted);
  }
  if (owed_) {
    XZFS_RETURN_IF_ERROR(Append(*owed_));
    owed_.reset();
  }
  return {};
}

// As PrepareLog. The first change after Publishing is noted before it is made: bytes that the log
// tells of already, and times, leave no record of their own.
Status Overlay::PrepareChange() {
  XZFS_RETURN_IF_ERROR(PrepareLog());
  if (!content_.published_as() || content_.has_changed_since_publishing()) {
    return {};
  }
  return AppendAndReplay(LogResize{content_.size()});
}

// A log that is too large can't be read back: what it doesn't take must not be acknowledged. What
// is left of it is for notes, and for what a change that was begun may need.
Status Overlay::RequireRoom() {
  const uint64_t most = most_log_bytes_ - most_log_bytes_ / kLogReserve;
  if (log_end_ < most) {
    return {};
  }
  // Not again and again if that gives nothing.
  const bool may_shrink = content_.written().size() * kExtentRecordBytes < log_end_ / 4 * 3;
  if (may_shrink && !syncing_) {
    (void)CompactLog();
  }
  return log_end_ < most ? Status()
                         : Fail(ENOSPC, "the overlay " + id_ +
                                            " has too many separate changes: they are "
                                            "taken again when it was committed");
}

// At the end that we know. What an append that failed left there goes, as a shorter record in its
// place would leave a rest of it.
Status Overlay::Append(const LogRecord& record) {
  XZFS_ASSIGN_OR_RETURN(const OverlayFiles::Ref log, files_->Open(OverlayFiles::kLog));
  changes_ += std::holds_alternative<LogSynced>(record) ? 0 : 1;
  std::string bytes;
  AppendRecord(record, bytes);
  if (log_end_ + bytes.size() > most_log_bytes_) {
    return Fail(ENOSPC, "the overlay's log " + id_ + " is full");
  }
  if (Status written = WriteFully(log->get(), BytesOf(bytes), log_end_); !written) {
    if (os_.Truncate(log->get(), log_end_) < 0) {
      log_is_stale_ = true;
    }
    return written;
  }
  log_end_ += bytes.size();
  return {};
}

// A record that is added after a change, or a note.
Status Overlay::AppendAndReplay(const LogRecord& record) {
  XZFS_RETURN_IF_ERROR(Append(record));
  content_.Replay(record);
  if (log_end_ > compact_at_ && !syncing_) {
    compact_at_ = log_end_ * 2;  // unless it works: then twice what is left
    (void)CompactLog();
  }
  return {};
}

Result<size_t> Overlay::ReadAt(const RandomAccessFile& base, uint64_t offset,
                               std::span<std::byte> out) const {
  using Run = OverlayContent::Run;
  std::vector<Run> runs;
  {
    MutexLock lock(mutex_);
    runs = content_.Runs(offset, out.size());
  }
  OverlayFiles::Ref data;
  for (const Run& run : runs) {
    std::span<std::byte> part = out.subspan(run.begin - offset, run.end - run.begin);
    if (run.where == Run::Where::kBase) {
      XZFS_RETURN_IF_ERROR(ReadFully(base, run.begin, part));
      continue;
    }
    uint64_t at = run.begin;
    if (run.where == Run::Where::kData && data == nullptr) {
      XZFS_ASSIGN_OR_RETURN(data, files_->Open(OverlayFiles::kData));
    }
    while (run.where == Run::Where::kData && !part.empty()) {
      const ssize_t got = os_.PRead(data->get(), part, at);
      if (got < 0) {
        return FailErrno(static_cast<int>(-got), "read the overlay " + id_);
      }
      if (got == 0) {  // it has just been made shorter
        break;
      }
      part = part.subspan(static_cast<size_t>(got));
      at += static_cast<uint64_t>(got);
    }
    std::fill(part.begin(), part.end(), std::byte{0});
  }
  return runs.empty() ? size_t{0} : runs.back().end - offset;
}

Status Overlay::WriteFully(int fd, std::span<const std::byte> bytes, uint64_t offset) const {
  while (!bytes.empty()) {
    const ssize_t put = os_.PWrite(fd, bytes, offset);
    if (put < 0) {
      return FailErrno(static_cast<int>(-put), "write the overlay " + id_);
    }
    bytes = bytes.subspan(static_cast<size_t>(put));
    offset += static_cast<uint64_t>(put);
  }
  return {};
}

Status Overlay::AddExtent(uint64_t begin, uint64_t end) {
  if (content_.Holds(begin, end)) {
    return {};
  }
  return AppendAndReplay(LogExtent{begin, end - begin});
}

Status Overlay::Write(uint64_t offset, std::span<const std::byte> bytes) {
  MutexLock lock(mutex_);
  return WriteLocked(offset, bytes);
}

Result<uint64_t> Overlay::Append(std::span<const std::byte> bytes) {
  MutexLock lock(mutex_);
  const uint64_t offset = content_.size();
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
  XZFS_RETURN_IF_ERROR(PrepareChange());
  if (!content_.Holds(offset, end)) {
    XZFS_RETURN_IF_ERROR(RequireRoom());
  }
  XZFS_ASSIGN_OR_RETURN(const OverlayFiles::Ref data, files_->Open(OverlayFiles::kData));
  ++changes_;
  Status written = WriteFully(data->get(), bytes, offset);
  if (written) {
    written = AddExtent(offset, end);
  }
  if (!written && end > content_.size()) {
    os_.Truncate(data->get(), content_.size());  // gives back the space that it took
  }
  return written;
}

Status Overlay::Truncate(uint64_t size) {
  if (size > kMostSize) {
    return Fail(EFBIG, "a size beyond the largest");
  }
  MutexLock lock(mutex_);
  XZFS_RETURN_IF_ERROR(PrepareChange());
  XZFS_RETURN_IF_ERROR(RequireRoom());
  XZFS_ASSIGN_OR_RETURN(const OverlayFiles::Ref data, files_->Open(OverlayFiles::kData));
  XZFS_ASSIGN_OR_RETURN(const OverlayFiles::Ref log, files_->Open(OverlayFiles::kLog));
  const bool shrinks = size < content_.size();
  if (const int error = os_.Truncate(data->get(), size); error < 0) {
    return FailErrno(-error, "truncate the overlay " + id_);
  }
  Status noted = AppendAndReplay(LogResize{size});
  if (!noted && shrinks) {
    owed_ = LogResize{size};
    content_.Replay(*owed_);
  } else if (!noted) {
    os_.Truncate(data->get(), content_.size());
  }
  return noted;
}

Status Overlay::ZeroData(uint64_t offset, uint64_t length) {
  ++changes_;
  XZFS_ASSIGN_OR_RETURN(const OverlayFiles::Ref data, files_->Open(OverlayFiles::kData));
  const int error =
      os_.Allocate(data->get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
  if (error == -EOPNOTSUPP || error == -ENOSYS) {
    const std::vector<std::byte> zeros(std::min<uint64_t>(length, uint64_t{1} << 20));
    for (uint64_t done = 0; done < length;) {
      const size_t part = std::min<uint64_t>(zeros.size(), length - done);
      XZFS_RETURN_IF_ERROR(WriteFully(data->get(), std::span(zeros).first(part), offset + done));
      done += part;
    }
    return {};
  }
  return error < 0 ? FailErrno(-error, "punch a hole into the overlay " + id_) : Status();
}

Status Overlay::Zero(uint64_t offset, uint64_t length) {
  MutexLock lock(mutex_);
  if (offset >= content_.size() || length == 0) {
    return {};
  }
  length = std::min(length, content_.size() - offset);
  XZFS_RETURN_IF_ERROR(PrepareChange());
  if (!content_.Holds(offset, offset + length)) {
    XZFS_RETURN_IF_ERROR(RequireRoom());
  }
  XZFS_RETURN_IF_ERROR(ZeroData(offset, length));
  return AddExtent(offset, offset + length);
}

uint64_t Overlay::size() const {
  MutexLock lock(mutex_);
  return content_.size();
}

Result<struct stat> Overlay::Stat() const {
  struct stat st = {};
  MutexLock lock(mutex_);
  if (const int error = files_->Stat(&st); error < 0) {
    return FailErrno(-error, "stat the overlay " + id_);
  }
  st.st_size = static_cast<off_t>(content_.size());
  return st;
}

Status Overlay::SetTimes(const struct timespec times[2]) {
  MutexLock lock(mutex_);
  if (content_.published_as() && !content_.has_changed_since_publishing()) {
    XZFS_RETURN_IF_ERROR(PrepareChange());
  }
  ++changes_;
  const int error = files_->SetTimes(times);
  return error < 0 ? FailErrno(-error, "set the times of the overlay " + id_) : Status();
}

void Overlay::TouchCtime() {
  ++changes_;
  files_->ChangeMode(kPrivateFileMode);
}

bool Overlay::IsBase(uint64_t begin, uint64_t end) const {
  MutexLock lock(mutex_);
  return content_.IsBase(begin, end);
}

OverlayBase Overlay::base() const {
  MutexLock lock(mutex_);
  return content_.base();
}

Status Overlay::Note(const LogRecord& record) {
  XZFS_RETURN_IF_ERROR(PrepareLog());
  return AppendAndReplay(record);
}

Status Overlay::NotePath(std::string path) {
  MutexLock lock(mutex_);
  return Note(LogPath{std::move(path)});
}

Status Overlay::NoteDropped() { return NoteAndSync(LogDropped{}); }

Status Overlay::NotePublishing(const LogPublishing& as, uint64_t content) {
  if (content != 0) {
    MutexLock lock(mutex_);
    XZFS_RETURN_IF_ERROR(Note(LogContent{.is_published = 1, .hash = content}));
  }
  return NoteAndSync(as);
}

void Overlay::NoteInode(uint64_t inode) {
  MutexLock lock(mutex_);
  content_.SetInode(inode);
  log_is_stale_ = true;  // its header has another one
}

uint64_t Overlay::published_content() const {
  MutexLock lock(mutex_);
  return content_.published_content();
}

bool Overlay::dropped() const {
  MutexLock lock(mutex_);
  return content_.dropped();
}

bool Overlay::has_sync_error() const { return sync_error().has_value(); }

std::optional<Error> Overlay::sync_error() const {
  MutexLock lock(mutex_);
  return sync_error_;
}

bool Overlay::lost_changes() const {
  MutexLock lock(mutex_);
  return lost_changes_;
}

std::optional<LogPublishing> Overlay::published_as() const {
  MutexLock lock(mutex_);
  return content_.published_as();
}

bool Overlay::has_changed_since_publishing() const {
  MutexLock lock(mutex_);
  return content_.has_changed_since_publishing();
}

// The header that the log has goes before the next record.
void Overlay::RebaseOnPublished() {
  MutexLock lock(mutex_);
  content_.RebaseOnPublished();
  log_is_stale_ = true;
}

Status Overlay::Remove() {
  MutexLock lock(mutex_);
  removed_ = true;
  files_->Forget();
  for (const char* suffix : {".log", ".data"}) {
    const int error = os_.Unlink(folder_, id_ + suffix, 0);
    if (error < 0 && error != -ENOENT) {
      return FailErrno(-error, "remove the overlay " + id_);
    }
  }
  return {};
}

}  // namespace xzfs
