// A change is acknowledged in this order: data file, log, the picture in memory. So the log never
// tells of bytes that aren't in the data file, and bytes there that it doesn't tell of don't count.
//
// After a power cut the log may have reached the disk before the data that it tells of. Hence the
// Synced records: written after a sync of the data file, they say up to where the log is to be
// believed in the next boot.
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
#include <vector>

#include "store/records.h"

namespace xzfs {
namespace {

constexpr uint64_t kMostSize = std::numeric_limits<int64_t>::max();
constexpr mode_t kFileMode = 0600;
// Random writes make a record each; so much is read back in a few milliseconds.
constexpr uint64_t kLeastCompaction = uint64_t{1} << 20;
constexpr uint64_t kMostLogBytes = uint64_t{1} << 30;

}  // namespace

Status Overlay::OpenFiles(int flags) {
  const int data = os_.OpenBeneath(folder_, id_ + ".data", flags, kFileMode);
  if (data < 0) {
    return FailSource(-data, "open the overlay " + id_ + ".data");
  }
  data_ = Descriptor(os_, data);
  const int log = os_.OpenBeneath(folder_, id_ + ".log", flags, kFileMode);
  if (log < 0) {
    return FailSource(-log, "open the overlay " + id_ + ".log");
  }
  MutexLock lock(mutex_);
  log_ = Descriptor(os_, log);
  return {};
}

Result<std::unique_ptr<Overlay>> Overlay::Create(Os& os, int folder, std::string id,
                                                 const OverlayBase& base, std::string_view boot_id,
                                                 const struct timespec times[2]) {
  std::unique_ptr<Overlay> overlay(new Overlay(os, folder, std::move(id)));
  const auto make = [&]() -> Status {
    XZFS_RETURN_IF_ERROR(overlay->OpenFiles(O_RDWR | O_CREAT | O_EXCL));
    MutexLock lock(overlay->mutex_);
    overlay->header_ = {.boot_id = std::string(boot_id),
                        .inode = base.inode,
                        .size_bytes = base.size_bytes,
                        .mtime_ns = base.mtime_ns,
                        .plain_size = base.plain_size};
    overlay->path_ = base.path;
    overlay->size_ = base.plain_size;
    overlay->base_limit_ = base.plain_size;
    overlay->compact_at_ = kLeastCompaction;
    if (const int error = os.Truncate(overlay->data_.get(), base.plain_size); error < 0) {
      return FailErrno(-error, "make an overlay");
    }
    if (const int error = os.FSetTimes(overlay->data_.get(), times); error < 0) {
      return FailErrno(-error, "make an overlay");
    }
    XZFS_RETURN_IF_ERROR(overlay->Append(overlay->header_));
    return overlay->Append(LogPath{base.path});
  };
  if (const Status made = make(); !made) {
    (void)overlay->Remove();
    return tl::unexpected(made.error());
  }
  return overlay;
}

Result<std::unique_ptr<Overlay>> Overlay::Load(Os& os, int folder, std::string id,
                                               std::string_view boot_id) {
  std::unique_ptr<Overlay> overlay(new Overlay(os, folder, std::move(id)));
  os.Unlink(folder, overlay->id_ + ".log.new", 0);  // of a compaction that did not end
  if (Status opened = overlay->OpenFiles(O_RDWR); !opened) {
    // The log is made after the data and removed before it.
    opened.error().of_the_source = opened.error().code != ENOENT;
    return tl::unexpected(std::move(opened.error()));
  }
  XZFS_RETURN_IF_ERROR(overlay->ReadLog(boot_id));
  return overlay;
}

Status Overlay::ReadLog(std::string_view boot_id) {
  MutexLock lock(mutex_);
  struct stat st = {};
  if (const int error = os_.FStat(log_.get(), &st); error < 0) {
    return FailSource(-error, "stat the overlay's log " + id_);
  }
  if (static_cast<uint64_t>(st.st_size) > kMostLogBytes) {
    return FailSource(EFBIG, "the overlay's log " + id_ + " is too large");
  }
  std::vector<std::byte> bytes(static_cast<size_t>(st.st_size));
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t got = os_.PRead(log_.get(), std::span(bytes).subspan(done), done);
    if (got < 0) {
      return FailSource(static_cast<int>(-got), "read the overlay's log " + id_);
    }
    if (got == 0) {
      bytes.resize(done);
    }
    done += static_cast<size_t>(got);
  }
  XZFS_ASSIGN_OR_RETURN(const ParsedLog log, ParseLog(bytes));
  header_ = std::get<LogHeader>(log.lines.front().record);
  size_ = base_limit_ = header_.plain_size;
  uint64_t end = log.end;
  if (header_.boot_id != boot_id) {
    end = 0;
    for (const ParsedLog::Line& line : log.lines) {
      if (const auto* synced = std::get_if<LogSynced>(&line.record)) {
        end = std::max(end, std::min(synced->end, line.end));
      }
    }
  }
  log_end_ = log.lines.front().end;
  for (const ParsedLog::Line& line : log.lines) {
    // Notes count also if they were not synced: they are checked against what is there.
    const bool is_note = std::holds_alternative<LogPath>(line.record) ||
                         std::holds_alternative<LogDropped>(line.record) ||
                         std::holds_alternative<LogPublishing>(line.record);
    if (line.end <= end || is_note) {
      Replay(line.record);
    }
  }
  compact_at_ = kLeastCompaction;
  // From here on in the present boot, and without what doesn't count any more.
  header_.boot_id = boot_id;
  if (const int error = os_.Truncate(data_.get(), size_); error < 0) {
    return FailSource(-error, "give the overlay " + id_ + ".data its size");
  }
  log_end_ = log.end;
  if (end != log.end || header_.boot_id != std::get<LogHeader>(log.lines.front().record).boot_id) {
    CompactLog();
  }
  return {};
}

void Overlay::Replay(const LogRecord& record) {
  if (const auto* extent = std::get_if<LogExtent>(&record)) {
    written_.Add(extent->offset, extent->offset + extent->length);
    size_ = std::max(size_, extent->offset + extent->length);
  } else if (const auto* resize = std::get_if<LogResize>(&record)) {
    size_ = resize->size;
    base_limit_ = std::min(base_limit_, size_);
    written_.CutAt(size_);
  } else if (const auto* path = std::get_if<LogPath>(&record)) {
    path_ = path->path;
  } else if (const auto* as = std::get_if<LogPublishing>(&record)) {
    published_as_ = *as;
  } else if (std::holds_alternative<LogDropped>(record)) {
    dropped_ = true;
  }
}

// At the end that we know, so that what a failed append left there is overwritten.
Status Overlay::Append(const LogRecord& record) {
  std::string bytes;
  AppendRecord(record, bytes);
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t put =
        os_.PWrite(log_.get(), BytesOf(std::string_view(bytes).substr(done)), log_end_ + done);
    if (put < 0) {
      return FailErrno(static_cast<int>(-put), "write the overlay's log " + id_);
    }
    done += static_cast<size_t>(put);
  }
  log_end_ += bytes.size();
  if (log_end_ > compact_at_) {
    CompactLog();
  }
  return {};
}

std::string Overlay::FreshLog() const {
  std::string bytes;
  AppendRecord(header_, bytes);
  AppendRecord(LogPath{path_}, bytes);
  if (base_limit_ < header_.plain_size) {
    AppendRecord(LogResize{base_limit_}, bytes);
  }
  for (const auto& [begin, end] : written_) {
    AppendRecord(LogExtent{begin, end - begin}, bytes);
  }
  AppendRecord(LogResize{size_}, bytes);
  if (dropped_) {
    AppendRecord(LogDropped{}, bytes);
  }
  if (published_as_) {
    AppendRecord(*published_as_, bytes);
  }
  AppendRecord(LogSynced{bytes.size()}, bytes);
  return bytes;
}

// Replaces the log by a shorter one. It is complete, and the data with it on the disk, before it
// has the log's name; so there always is one whole log. A failure leaves the old one.
void Overlay::CompactLog() {
  compact_at_ = log_end_ * 2;  // unless it works: then twice what is left
  const std::string bytes = FreshLog();
  const std::string name = id_ + ".log.new";
  const int fd = os_.OpenBeneath(folder_, name, O_RDWR | O_CREAT | O_TRUNC, kFileMode);
  if (fd < 0) {
    return;
  }
  Descriptor fresh(os_, fd);
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t put = os_.PWrite(fd, BytesOf(std::string_view(bytes).substr(done)), done);
    if (put <= 0) {
      break;
    }
    done += static_cast<size_t>(put);
  }
  if (const int error = os_.Sync(data_.get(), true); error < 0) {
    sync_error_ = Error{-error, "sync the overlay " + id_};
  }
  if (done < bytes.size() || sync_error_ || os_.Sync(fd, false) < 0 ||
      os_.Rename(folder_, name, folder_, id_ + ".log", 0) < 0) {
    os_.Unlink(folder_, name, 0);
    return;
  }
  ++compactions_;
  log_ = std::move(fresh);
  log_end_ = bytes.size();
  compact_at_ = std::max(kLeastCompaction, 2 * log_end_);
}

Result<size_t> Overlay::ReadAt(const RandomAccessFile& base, uint64_t offset,
                               std::span<std::byte> out) const {
  struct Run {
    uint64_t begin;
    uint64_t end;
    bool is_base;
  };
  std::vector<Run> runs;
  uint64_t end = offset;
  {
    MutexLock lock(mutex_);
    if (offset < size_) {
      end = offset + std::min<uint64_t>(out.size(), size_ - offset);
    }
    for (uint64_t at = offset; at < end;) {
      uint64_t run_end = written_.RunEnd(at, end);
      bool is_base = false;
      if (!written_.Covers(at, at + 1) && at < base_limit_) {
        run_end = std::min(run_end, base_limit_);
        is_base = true;
      }
      runs.push_back({at, run_end, is_base});
      at = run_end;
    }
  }
  for (const Run& run : runs) {
    const std::span<std::byte> part = out.subspan(run.begin - offset, run.end - run.begin);
    if (run.is_base) {
      XZFS_RETURN_IF_ERROR(ReadFully(base, run.begin, part));
      continue;
    }
    for (size_t done = 0; done < part.size();) {
      const ssize_t got = os_.PRead(data_.get(), part.subspan(done), run.begin + done);
      if (got < 0) {
        return FailErrno(static_cast<int>(-got), "read the overlay " + id_);
      }
      if (got == 0) {  // it has just been made shorter
        std::memset(part.data() + done, 0, part.size() - done);
        break;
      }
      done += static_cast<size_t>(got);
    }
  }
  return end - offset;
}

Status Overlay::WriteData(uint64_t offset, std::span<const std::byte> bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t put = os_.PWrite(data_.get(), bytes.subspan(done), offset + done);
    if (put < 0) {
      return FailErrno(static_cast<int>(-put), "write the overlay " + id_);
    }
    done += static_cast<size_t>(put);
  }
  return {};
}

Status Overlay::AddExtent(uint64_t begin, uint64_t end) {
  if (!written_.Covers(begin, end) || end > size_) {
    XZFS_RETURN_IF_ERROR(Append(LogExtent{begin, end - begin}));
  }
  written_.Add(begin, end);
  size_ = std::max(size_, end);
  return {};
}

Status Overlay::Write(uint64_t offset, std::span<const std::byte> bytes) {
  if (bytes.empty()) {
    return {};
  }
  if (offset > kMostSize || bytes.size() > kMostSize - offset) {
    return Fail(EFBIG, "a write beyond the largest size");
  }
  MutexLock lock(mutex_);
  Status written = WriteData(offset, bytes);
  if (written) {
    written = AddExtent(offset, offset + bytes.size());
  }
  if (!written) {
    os_.Truncate(data_.get(), size_);  // the data file has the logical file's size
  }
  return written;
}

Status Overlay::Resize(uint64_t size) {
  const uint64_t before = size_;
  if (const int error = os_.Truncate(data_.get(), size); error < 0) {
    return FailErrno(-error, "truncate the overlay " + id_);
  }
  if (const Status noted = Append(LogResize{size}); !noted) {
    if (size < before) {
      // What was cut off the data file is gone, so the file must be shorter, noted or not: a log
      // that still has it would show zeros.
      Replay(LogResize{size});
    } else {
      os_.Truncate(data_.get(), before);
    }
    return noted;
  }
  Replay(LogResize{size});
  return {};
}

Status Overlay::Truncate(uint64_t size) {
  if (size > kMostSize) {
    return Fail(EFBIG, "a size beyond the largest");
  }
  MutexLock lock(mutex_);
  return Resize(size);
}

Status Overlay::ZeroData(uint64_t offset, uint64_t length) {
  const int error =
      os_.Allocate(data_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
  if (error == -EOPNOTSUPP || error == -ENOSYS) {
    const std::vector<std::byte> zeros(std::min<uint64_t>(length, uint64_t{1} << 20));
    for (uint64_t done = 0; done < length;) {
      const size_t part = std::min<uint64_t>(zeros.size(), length - done);
      XZFS_RETURN_IF_ERROR(WriteData(offset + done, std::span(zeros).first(part)));
      done += part;
    }
    return {};
  }
  return error < 0 ? FailErrno(-error, "punch a hole into the overlay " + id_) : Status();
}

Status Overlay::Zero(uint64_t offset, uint64_t length) {
  MutexLock lock(mutex_);
  if (offset >= size_ || length == 0) {
    return {};
  }
  length = std::min(length, size_ - offset);
  XZFS_RETURN_IF_ERROR(ZeroData(offset, length));
  return AddExtent(offset, offset + length);
}

Status Overlay::Sync(bool only_data) {
  uint64_t end = 0;
  uint64_t compactions = 0;
  {
    MutexLock lock(mutex_);
    if (sync_error_) {
      return tl::unexpected(*sync_error_);
    }
    end = log_end_;
    compactions = compactions_;
  }
  int error = os_.Sync(data_.get(), only_data);
  MutexLock lock(mutex_);
  // A compaction meanwhile has synced everything up to it, and `end` is of the old log.
  if (error == 0 && compactions == compactions_) {
    XZFS_RETURN_IF_ERROR(Append(LogSynced{end}));
  }
  if (error == 0) {
    error = os_.Sync(log_.get(), true);
  }
  if (error < 0) {
    sync_error_ = Error{-error, "sync the overlay " + id_ + ": " + std::strerror(-error)};
    return tl::unexpected(*sync_error_);
  }
  return {};
}

uint64_t Overlay::size() const {
  MutexLock lock(mutex_);
  return size_;
}

Result<struct stat> Overlay::Stat() const {
  struct stat st = {};
  if (const int error = os_.FStat(data_.get(), &st); error < 0) {
    return FailErrno(-error, "stat the overlay " + id_);
  }
  return st;
}

Status Overlay::SetTimes(const struct timespec times[2]) {
  const int error = os_.FSetTimes(data_.get(), times);
  return error < 0 ? FailErrno(-error, "set the times of the overlay " + id_) : Status();
}

bool Overlay::IsBase(uint64_t begin, uint64_t end) const {
  MutexLock lock(mutex_);
  return end <= base_limit_ && !written_.Touches(begin, end);
}

OverlayBase Overlay::base() const {
  MutexLock lock(mutex_);
  return {.inode = header_.inode,
          .size_bytes = header_.size_bytes,
          .mtime_ns = header_.mtime_ns,
          .plain_size = header_.plain_size,
          .path = path_};
}

Status Overlay::NotePath(std::string path) {
  MutexLock lock(mutex_);
  path_ = std::move(path);
  return Append(LogPath{path_});
}

Status Overlay::NoteDropped() {
  MutexLock lock(mutex_);
  XZFS_RETURN_IF_ERROR(Append(LogDropped{}));
  dropped_ = true;
  return {};
}

Status Overlay::NotePublishing(const LogPublishing& as) {
  MutexLock lock(mutex_);
  XZFS_RETURN_IF_ERROR(Append(as));
  published_as_ = as;
  const int error = os_.Sync(log_.get(), true);
  return error < 0 ? FailErrno(-error, "sync the overlay's log " + id_) : Status();
}

bool Overlay::dropped() const {
  MutexLock lock(mutex_);
  return dropped_;
}

std::optional<LogPublishing> Overlay::published_as() const {
  MutexLock lock(mutex_);
  return published_as_;
}

Status Overlay::Remove() {
  for (const char* suffix : {".log", ".data"}) {
    const int error = os_.Unlink(folder_, id_ + suffix, 0);
    if (error < 0 && error != -ENOENT) {
      return FailErrno(-error, "remove the overlay " + id_);
    }
  }
  return {};
}

}  // namespace xzfs
