// The log only says what is true of the data file. A crash can happen between any two steps, so:
//
// Adding: the change is made, then its record is written at the end that we know. A crash leaves
// a whole record or a torn one, and a torn one is the end of the log. If a record can't be written
// completely, its beginning is cut off again. If that fails, the log is stale.
//
// The one change that can't be taken back is cutting the data file. A log that doesn't record it
// yet owes that record (`owed_`), which is added before any other change. If the process ends
// before that, the data file is shorter than the log says, which happens in no other way (FindCut).
//
// After a power cut the log may have reached the disk before the data that it describes. A Synced
// record is written after a sync of the data file, and says up to where the next boot may believe
// the log. A log of another boot is stale: it is rewritten before anything is added to it.
//
// Rewriting: the new log is whole and on the disk, and so is the data that it describes, before it
// gets the log's name. So a crash leaves the old log or the new one.
#include "store/logged_content.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <span>
#include <utility>
#include <variant>

#include "base/try.h"
#include "store/names.h"
#include "store/overlay_copies.h"
#include "xzfs/byte_string.h"

namespace xzfs {
namespace {

// Random writes make a record each; this much is read back in a few milliseconds.
constexpr uint64_t kLeastCompaction = uint64_t{1} << 20;
// One part in this many of the log's largest size is kept for notes.
constexpr uint64_t kLogReserve = 64;
constexpr uint64_t kExtentRecordBytes = 33;

// Notes count also if they were not synced: they are checked against what is there.
bool IsNote(const LogRecord& record) {
  return std::holds_alternative<LogPath>(record) || std::holds_alternative<LogDropped>(record) ||
         std::holds_alternative<LogPublishing>(record) ||
         std::holds_alternative<LogContent>(record);
}

}  // namespace

Status LoggedContent::Begin(const OverlayBase& base, std::string_view boot_id) {
  content_ = OverlayContent({.boot_id = std::string(boot_id),
                             .inode = base.inode,
                             .size_bytes = base.size_bytes,
                             .mtime_ns = base.mtime_ns,
                             .plain_size = base.plain_size,
                             .birth_ns = base.birth_ns},
                            base.path, base.content);
  compact_at_ = kLeastCompaction;
  XZFS_RETURN_IF_ERROR(Append(content_.header()));
  if (base.content != 0) {
    XZFS_RETURN_IF_ERROR(Append(LogContent{.is_published = 0, .hash = base.content}));
  }
  return Append(LogPath{base.path});
}

Result<std::vector<std::byte>> LoggedContent::ReadBytes() const {
  XZFS_ASSIGN_OR_RETURN(const OverlayFiles::Ref file, files_.Open(OverlayFiles::kLog));
  struct stat st = {};
  if (const int error = files_.os().FStat(file->get(), &st); error < 0) {
    return FailErrno(-error, "stat the overlay's log " + files_.id());
  }
  if (static_cast<uint64_t>(st.st_size) > most_bytes_) {
    return FailErrno(EFBIG, "the overlay's log " + files_.id() + " is too large");
  }
  std::vector<std::byte> bytes(static_cast<size_t>(st.st_size));
  const ssize_t got = files_.os().ReadAll(file->get(), bytes, 0);
  if (got < 0) {
    return FailErrno(static_cast<int>(-got), "read the overlay's log " + files_.id());
  }
  bytes.resize(static_cast<size_t>(got));
  return bytes;
}

uint64_t LoggedContent::Replay(const ParsedLog& log, bool is_of_this_boot) {
  uint64_t end = is_of_this_boot ? log.end : 0;
  for (const ParsedLog::Line& line : log.lines) {
    if (const auto* synced = std::get_if<LogSynced>(&line.record)) {
      end = std::max(end, std::min(synced->end, line.end));
    }
  }
  for (const ParsedLog::Line& line : log.lines) {
    if (line.end <= end || IsNote(line.record)) {
      content_.Replay(line.record);
    } else if (!std::holds_alternative<LogHeader>(line.record) &&
               !std::holds_alternative<LogSynced>(line.record)) {
      lost_changes_ = true;
    }
  }
  return end;
}

Status LoggedContent::Load(std::string_view boot_id) {
  XZFS_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, ReadBytes());
  XZFS_ASSIGN_OR_RETURN(const ParsedLog log, ParseLog(bytes));
  content_ = OverlayContent(std::get<LogHeader>(log.lines.front().record), {}, 0);
  const bool is_of_this_boot = content_.header().boot_id == boot_id;
  const uint64_t counts_to = Replay(log, is_of_this_boot);
  end_ = log.end;
  compact_at_ = kLeastCompaction;
  content_.SetBoot(boot_id);
  // What follows a torn record must not come back when that has been overwritten.
  XZFS_ASSIGN_OR_RETURN(const OverlayFiles::Ref file, files_.Open(OverlayFiles::kLog));
  const bool is_torn = log.end < bytes.size() && files_.os().Truncate(file->get(), log.end) < 0;
  is_stale_ = !is_of_this_boot || is_torn;
  // After a power cut the data file's size means something only if it was ever synced: before that
  // the file may have none.
  if (is_of_this_boot || counts_to > log.lines.front().end) {
    XZFS_RETURN_IF_ERROR(FindCut());
  }
  if (is_stale_ && !files_.IsReadOnly()) {
    (void)Compact();  // else the next change tries it again
  }
  return {};
}

// Sees whether the data file was cut and the log doesn't say so.
Status LoggedContent::FindCut() {
  struct stat st = {};
  if (const int error = files_.Stat(&st); error < 0) {
    return FailErrno(-error, "stat the overlay " + files_.NameOf(OverlayFiles::kData));
  }
  if (const auto size = static_cast<uint64_t>(st.st_size); size < content_.size()) {
    OweResize(size);
  }
  return {};
}

void LoggedContent::OweResize(uint64_t size) {
  owed_ = LogResize{size};
  content_.Replay(*owed_);
}

Status LoggedContent::Prepare(Mutex& lock) {
  if (files_.IsReadOnly()) {
    return FailErrno(EROFS, "change the overlay " + files_.id());
  }
  if (is_stale_) {
    XZFS_RETURN_IF_ERROR(syncs_.TakeTurn(lock));
    const Status compacted = is_stale_ ? Compact() : Status();
    syncs_.EndTurn();
    XZFS_RETURN_IF_ERROR(compacted);
  }
  if (owed_) {
    XZFS_RETURN_IF_ERROR(Append(*owed_));
    owed_.reset();
  }
  return {};
}

Status LoggedContent::PrepareChange(Mutex& lock) {
  XZFS_RETURN_IF_ERROR(Prepare(lock));
  if (!content_.published_as() || content_.has_changed_since_publishing()) {
    return {};
  }
  return Record(LogResize{content_.size()});
}

// A log that is too large can't be read back: what it doesn't take must not be acknowledged.
Status LoggedContent::RequireRoom() {
  const uint64_t most = most_bytes_ - most_bytes_ / kLogReserve;
  if (end_ < most) {
    return {};
  }
  // Not again and again if that gives nothing.
  const bool may_shrink = content_.written().size() * kExtentRecordBytes < end_ / 4 * 3;
  if (may_shrink && !syncs_.has_turn_taken()) {
    (void)Compact();
  }
  return end_ < most ? Status()
                     : Fail(ENOSPC, "the overlay " + files_.id() +
                                        " has too many separate changes: it can take more "
                                        "after the next commit");
}

// The rest of a failed append is cut off: a shorter record in its place would leave a part of it.
Status LoggedContent::Append(const LogRecord& record) {
  XZFS_ASSIGN_OR_RETURN(const OverlayFiles::Ref log, files_.Open(OverlayFiles::kLog));
  changes_ += std::holds_alternative<LogSynced>(record) ? 0 : 1;
  std::string bytes;
  AppendRecord(record, bytes);
  if (end_ + bytes.size() > most_bytes_) {
    return Fail(ENOSPC, "the overlay's log " + files_.id() + " is full");
  }
  if (Status written = files_.Write(log->get(), BytesOf(bytes), end_); !written) {
    if (files_.os().Truncate(log->get(), end_) < 0) {
      is_stale_ = true;
    }
    return written;
  }
  end_ += bytes.size();
  return {};
}

Status LoggedContent::Record(const LogRecord& record) {
  XZFS_RETURN_IF_ERROR(Append(record));
  content_.Replay(record);
  if (end_ > compact_at_ && !syncs_.has_turn_taken()) {
    compact_at_ = end_ * 2;  // if Compact succeeds it sets twice the new size
    (void)Compact();
  }
  return {};
}

Status LoggedContent::RecordExtent(uint64_t begin, uint64_t end) {
  return content_.Holds(begin, end) ? Status() : Record(LogExtent{begin, end - begin});
}

Status LoggedContent::Note(const LogRecord& record, Mutex& lock) {
  XZFS_RETURN_IF_ERROR(Prepare(lock));
  return Record(record);
}

void LoggedContent::SetInode(uint64_t inode) {
  content_.SetInode(inode);
  is_stale_ = true;
}

void LoggedContent::RebaseOnPublished() {
  content_.RebaseOnPublished();
  is_stale_ = true;
}

// Replaces the log by a shorter one. A failure leaves the old one. REQUIRES: no other thread is
// syncing.
Status LoggedContent::Compact() {
  if (is_retired_) {
    return Fail(ENOENT, "the overlay " + files_.id() + " was removed");
  }
  if (syncs_.error()) {
    return Failure(*syncs_.error());
  }
  XZFS_ASSIGN_OR_RETURN(const OverlayFiles::Ref data, files_.Open(OverlayFiles::kData));
  const std::string bytes = content_.FreshLog();
  XZFS_ASSIGN_OR_RETURN(Descriptor fresh, WriteFresh(bytes));
  if (Status synced = syncs_.Note(files_.os().SyncData(data->get())); !synced) {
    files_.DropFresh(OverlayFiles::kLog);
    return synced;
  }
  XZFS_RETURN_IF_ERROR(Install(std::move(fresh), bytes.size()));
  // From here on what is synced is in the new log only.
  return syncs_.Note(files_.os().Sync(files_.folder()));
}

// A log that is on the disk and doesn't have the log's name yet. A failure leaves none. It doesn't
// count as a failed sync, as no program relies on that file.
Result<Descriptor> LoggedContent::WriteFresh(const std::string& bytes) {
  XZFS_ASSIGN_OR_RETURN(Descriptor fresh, files_.MakeFresh(OverlayFiles::kLog));
  Status made = files_.Write(fresh.get(), BytesOf(bytes), 0);
  if (made) {
    const int error = files_.os().Sync(fresh.get());
    made = error < 0 ? FailErrno(-error, "sync the overlay's new log " + files_.id()) : Status();
  }
  if (!made) {
    files_.DropFresh(OverlayFiles::kLog);
    return Failure(made.error());
  }
  return fresh;
}

// Gives the log's name to `fresh`, of `size` bytes.
Status LoggedContent::Install(Descriptor fresh, uint64_t size) {
  XZFS_RETURN_IF_ERROR(files_.InstallFresh(OverlayFiles::kLog, std::move(fresh)));
  end_ = size;
  is_stale_ = false;
  owed_.reset();
  compact_at_ = std::max(kLeastCompaction, 2 * end_);
  return {};
}

// The data file comes first: the old log describes the same extents in it.
Status LoggedContent::WriteAgain() {
  if (is_retired_) {
    return Fail(ENOENT, "the overlay " + files_.id() + " was removed");
  }
  XZFS_ASSIGN_OR_RETURN(const OverlayFiles::Ref old, files_.Open(OverlayFiles::kData));
  XZFS_ASSIGN_OR_RETURN(Descriptor data, WriteFreshData(files_, *old, content_));
  const std::string bytes = content_.FreshLog();
  Result<Descriptor> log = WriteFresh(bytes);
  if (!log) {
    files_.DropFresh(OverlayFiles::kData);
    return Failure(log.error());
  }
  if (Status installed = files_.InstallFresh(OverlayFiles::kData, std::move(data)); !installed) {
    files_.DropFresh(OverlayFiles::kLog);
    return installed;
  }
  XZFS_RETURN_IF_ERROR(Install(std::move(*log), bytes.size()));
  syncs_.Forgive();
  return syncs_.Note(files_.os().Sync(files_.folder()));
}

}  // namespace xzfs
