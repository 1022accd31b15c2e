// What an overlay does beside its changes: getting them to the disk, keeping its log short, writing
// its files again, moving them.
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "base/try.h"
#include "store/names.h"
#include "store/overlay.h"
#include "store/records.h"

namespace xzfs {
namespace {

// How much is copied at a time.
constexpr size_t kCopyBytes = size_t{1} << 20;

}  // namespace

// Replaces the log by a shorter one. It is complete, and the data with it on the disk, before it
// has the log's name; so there always is one whole log. A failure leaves the old one. REQUIRES:
// nobody else is syncing.
Status Overlay::CompactLog() {
  if (removed_) {
    return Fail(ENOENT, "the overlay " + id_ + " was removed");
  }
  if (sync_error_) {
    return Failure(*sync_error_);
  }
  XZFS_ASSIGN_OR_RETURN(const OverlayFiles::Ref data, files_->Open(OverlayFiles::kData));
  const std::string bytes = content_.FreshLog();
  const std::string name = id_ + ".log.new";
  const int fd = os_.OpenBeneath(folder_, name, O_RDWR | O_CREAT | O_TRUNC, kPrivateFileMode);
  if (fd < 0) {
    return FailErrno(-fd, "make the overlay's log " + name);
  }
  Descriptor fresh(os_, fd);
  Status made = WriteFully(fd, BytesOf(bytes), 0);
  if (made) {
    made = NoteSync(os_.SyncData(data->get()));
  }
  if (made) {  // of a file that nobody relies on yet
    const int error = os_.Sync(fd);
    made = error < 0 ? FailErrno(-error, "sync the overlay's log " + name) : Status();
  }
  if (made) {
    const int error = os_.Rename(folder_, name, folder_, id_ + ".log", 0);
    made = error < 0 ? FailErrno(-error, "rename the overlay's log " + name) : Status();
  }
  if (!made) {
    os_.Unlink(folder_, name, 0);
    return made;
  }
  TakeFreshLog(std::move(fresh), bytes.size());
  // What is synced from here on is in the new log only.
  return NoteSync(os_.Sync(folder_));
}

void Overlay::TakeFreshLog(Descriptor fresh, uint64_t size) {
  files_->Replace(OverlayFiles::kLog, std::move(fresh));
  log_end_ = size;
  log_is_stale_ = false;
  owed_.reset();
  compact_at_ = std::max(kLeastCompaction, 2 * log_end_);
}

Status Overlay::TakeSyncTurn() {
  while (syncing_) {
    sync_ended_.Wait(mutex_);
  }
  if (sync_error_) {
    return Failure(*sync_error_);
  }
  syncing_ = true;
  return {};
}

void Overlay::EndSyncTurn() {
  syncing_ = false;
  sync_ended_.NotifyAll();
}

// `error`: what a sync of something that was acknowledged gave.
Status Overlay::NoteSync(int error) {
  if (error == 0) {
    return {};
  }
  sync_error_ =
      Error{ErrorKind::kSystem, -error, "sync the overlay " + id_ + ": " + std::strerror(-error)};
  return Failure(*sync_error_);
}

// The lock is not held meanwhile; what is written then is not covered. REQUIRES: it is our turn.
Status Overlay::SyncFile(OverlayFiles::Which which, bool only_data) {
  XZFS_ASSIGN_OR_RETURN(const OverlayFiles::Ref file, files_->Open(which));
  const int fd = file->get();
  mutex_.Unlock();
  const int error = only_data ? os_.SyncData(fd) : os_.Sync(fd);
  mutex_.Lock();
  return NoteSync(error);
}

Status Overlay::Sync(bool only_data) {
  MutexLock lock(mutex_);
  if (read_only_) {
    return {};  // nothing was changed
  }
  XZFS_RETURN_IF_ERROR(PrepareLog());
  XZFS_RETURN_IF_ERROR(TakeSyncTurn());
  const uint64_t end = log_end_;
  const uint64_t changes = changes_;
  if (changes == synced_changes_) {  // nothing since the last one, that covered all
    EndSyncTurn();
    return {};
  }
  Status synced = SyncFile(OverlayFiles::kData, only_data);
  if (synced) {
    synced = Append(LogSynced{end});
  }
  if (synced) {
    synced = SyncFile(OverlayFiles::kLog, /*only_data=*/true);
  }
  if (synced && !only_data) {
    synced_changes_ = changes;
  }
  EndSyncTurn();
  return synced;
}

Status Overlay::NoteAndSync(const LogRecord& record) {
  MutexLock lock(mutex_);
  XZFS_RETURN_IF_ERROR(Note(record));
  XZFS_RETURN_IF_ERROR(TakeSyncTurn());
  Status synced = SyncFile(OverlayFiles::kLog, /*only_data=*/true);
  EndSyncTurn();
  return synced;
}

// All that `from` has in [begin, end); what it lacks is zeros.
Status Overlay::CopyBytes(int from, int to, uint64_t begin, uint64_t end,
                          std::vector<std::byte>& buffer) const {
  buffer.resize(kCopyBytes);
  while (begin < end) {
    const auto part = std::span(buffer).first(std::min<uint64_t>(buffer.size(), end - begin));
    const ssize_t got = os_.PRead(from, part, begin);
    if (got < 0) {
      return FailErrno(static_cast<int>(-got), "read an overlay");
    }
    if (got == 0) {
      break;
    }
    XZFS_RETURN_IF_ERROR(WriteFully(to, part.first(static_cast<size_t>(got)), begin));
    begin += static_cast<uint64_t>(got);
  }
  return {};
}

Status Overlay::Renew() {
  MutexLock lock(mutex_);
  while (syncing_) {
    sync_ended_.Wait(mutex_);
  }
  if (!sync_error_) {
    return {};
  }
  syncing_ = true;
  Status renewed = WriteAnew();
  EndSyncTurn();
  return renewed;
}

// First the data: the old log tells of the same extents in it.
Status Overlay::WriteAnew() {
  if (removed_) {
    return Fail(ENOENT, "the overlay " + id_ + " was removed");
  }
  XZFS_ASSIGN_OR_RETURN(const OverlayFiles::Ref old, files_->Open(OverlayFiles::kData));
  const std::string data_name = id_ + ".data.new";
  const std::string log_name = id_ + ".log.new";
  constexpr int kFlags = O_RDWR | O_CREAT | O_TRUNC;
  Descriptor data(os_, os_.OpenBeneath(folder_, data_name, kFlags, kPrivateFileMode));
  Descriptor log(os_, os_.OpenBeneath(folder_, log_name, kFlags, kPrivateFileMode));
  const std::string bytes = content_.FreshLog();
  const auto make = [&]() REQUIRES(mutex_) -> Status {
    const auto check = [&](int error) -> Status {
      return error < 0 ? FailErrno(-error, "make the overlay " + id_ + " anew") : Status();
    };
    XZFS_RETURN_IF_ERROR(check(std::min(data.get(), log.get())));
    struct stat st = {};
    XZFS_RETURN_IF_ERROR(check(os_.FStat(old->get(), &st)));
    XZFS_RETURN_IF_ERROR(check(os_.Truncate(data.get(), content_.size())));
    std::vector<std::byte> buffer;
    for (const auto& [begin, end] : content_.written()) {
      XZFS_RETURN_IF_ERROR(CopyBytes(old->get(), data.get(), begin, end, buffer));
    }
    const struct timespec times[2] = {st.st_atim, st.st_mtim};
    XZFS_RETURN_IF_ERROR(check(os_.FSetTimes(data.get(), times)));
    XZFS_RETURN_IF_ERROR(WriteFully(log.get(), BytesOf(bytes), 0));
    XZFS_RETURN_IF_ERROR(check(os_.Sync(data.get())));
    XZFS_RETURN_IF_ERROR(check(os_.Sync(log.get())));
    XZFS_RETURN_IF_ERROR(check(os_.Rename(folder_, data_name, folder_, id_ + ".data", 0)));
    files_->Replace(OverlayFiles::kData, std::move(data));
    return check(os_.Rename(folder_, log_name, folder_, id_ + ".log", 0));
  };
  if (Status made = make(); !made) {
    os_.Unlink(folder_, data_name, 0);
    os_.Unlink(folder_, log_name, 0);
    return made;
  }
  TakeFreshLog(std::move(log), bytes.size());
  sync_error_.reset();
  return NoteSync(os_.Sync(folder_));
}

// What has no name any more is copied, as long as it is open.
Result<Overlay::Moved> Overlay::MoveTo(int folder, const std::string& name) {
  MutexLock lock(mutex_);
  removed_ = true;
  Moved moved = Moved::kAll;
  for (const auto which : {OverlayFiles::kData, OverlayFiles::kLog}) {
    const std::string to = name + (which == OverlayFiles::kData ? ".data" : ".log");
    const int error = os_.Rename(folder_, files_->NameOf(which), folder, to, 0);
    if (error < 0 && error != -ENOENT) {
      return FailErrno(-error, "move the overlay " + id_);
    }
    const OverlayFiles::Ref open = error < 0 ? files_->IfOpen(which) : nullptr;
    if (open != nullptr) {
      XZFS_RETURN_IF_ERROR(CopyFile(*open, folder, to));
    } else if (error < 0) {
      moved = which == OverlayFiles::kData ? Moved::kNothing : moved;
    }
  }
  files_->Forget();
  return moved;
}

Status Overlay::CopyFile(const Descriptor& from, int folder, const std::string& to) {
  struct stat st = {};
  if (const int error = os_.FStat(from.get(), &st); error < 0) {
    return FailErrno(-error, "stat the overlay " + id_);
  }
  const int fd = os_.OpenBeneath(folder, to, O_RDWR | O_CREAT | O_TRUNC, kPrivateFileMode);
  if (fd < 0) {
    return FailErrno(-fd, "copy the overlay " + id_);
  }
  const Descriptor copy(os_, fd);
  const auto size = static_cast<uint64_t>(st.st_size);
  std::vector<std::byte> buffer;
  XZFS_RETURN_IF_ERROR(CopyBytes(from.get(), fd, 0, size, buffer));
  const int error = os_.Sync(fd);
  return error < 0 ? FailErrno(-error, "sync the copy of the overlay " + id_) : Status();
}

}  // namespace xzfs
