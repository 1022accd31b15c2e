// The cache has a lock, and each OverlayFiles has one. A thread never holds two of these locks: it
// releases its own before it asks the cache, and the cache releases its own before it closes files.
// So another thread may open the same file in between; then the first descriptor stays.
//
// Closing only gives up our reference to the descriptor. A thread that reads through a Ref keeps
// the descriptor open until it is done.
//
// If the process has no descriptor left, the overlay that was used longest ago is closed and the
// open is tried again, until nothing is left to close. Files that are kept open are not in the
// cache, and Close passes over them.
//
// A file is replaced by a whole new one: that is made under the name with ".new", and renamed
// before the descriptors are exchanged. If the rename fails the old file stays in use.
#include "store/overlay_files.h"

#include <fcntl.h>

#include <cerrno>
#include <iterator>
#include <utility>

#include "base/try.h"
#include "store/names.h"

namespace xzfs {
namespace {

constexpr const char* kFreshSuffix = ".new";

}  // namespace

void OverlayFileCache::Touch(const std::shared_ptr<OverlayFiles>& files) {
  std::shared_ptr<OverlayFiles> oldest;
  {
    MutexLock lock(mutex_);
    if (const auto it = by_files_.find(files.get()); it != by_files_.end()) {
      entries_.splice(entries_.begin(), entries_, it->second);
      return;
    }
    entries_.push_front(files);
    by_files_.emplace(files.get(), entries_.begin());
    if (entries_.size() <= capacity_) {
      return;
    }
    oldest = std::move(entries_.back());
    entries_.pop_back();
    by_files_.erase(oldest.get());
  }
  oldest->Close();
}

void OverlayFileCache::Remove(const OverlayFiles& files) {
  std::shared_ptr<OverlayFiles> removed;  // after the lock
  MutexLock lock(mutex_);
  if (const auto it = by_files_.find(&files); it != by_files_.end()) {
    removed = std::move(*it->second);
    entries_.erase(it->second);
    by_files_.erase(it);
  }
}

bool OverlayFileCache::CloseOldest() {
  std::shared_ptr<OverlayFiles> oldest;
  {
    MutexLock lock(mutex_);
    if (entries_.empty()) {
      return false;
    }
    oldest = std::move(entries_.back());
    entries_.pop_back();
    by_files_.erase(oldest.get());
  }
  oldest->Close();
  return true;
}

size_t OverlayFileCache::size() {
  MutexLock lock(mutex_);
  return entries_.size();
}

Result<OverlayFiles::Ref> OverlayFiles::OpenLocked(Which which, int flags) {
  const mode_t mode = (flags & O_CREAT) != 0 ? kPrivateFileMode : 0;
  int fd = os_.OpenBeneath(folder_, NameOf(which), flags, mode);
  while ((fd == -EMFILE || fd == -ENFILE) && cache_ != nullptr) {
    // Locks of other overlays' files are never taken while this one is held.
    mutex_.Unlock();
    const bool closed = cache_->CloseOldest();
    mutex_.Lock();
    if (!closed) {
      break;
    }
    fd = os_.OpenBeneath(folder_, NameOf(which), flags, mode);
  }
  if (fd < 0) {
    return FailErrno(-fd, "open the overlay " + NameOf(which));
  }
  return std::make_shared<const Descriptor>(os_, fd);
}

Result<OverlayFiles::Ref> OverlayFiles::Open(Which which) {
  Ref file;
  {
    MutexLock lock(mutex_);
    if (open_[which] == nullptr) {
      if (is_gone_) {
        return Fail(ESTALE, "the overlay " + id_ + " was removed");
      }
      XZFS_ASSIGN_OR_RETURN(Ref opened, OpenLocked(which, flags_));
      if (open_[which] == nullptr) {  // another thread may have been faster
        open_[which] = std::move(opened);
      }
    }
    file = open_[which];
    if (is_kept_ || cache_ == nullptr) {
      return file;
    }
  }
  cache_->Touch(shared_from_this());
  return file;
}

Result<OverlayFiles::Ref> OverlayFiles::Create(Which which) {
  Ref file;
  {
    MutexLock lock(mutex_);
    XZFS_ASSIGN_OR_RETURN(file, OpenLocked(which, O_RDWR | O_CREAT | O_EXCL));
    open_[which] = file;
  }
  if (cache_ != nullptr) {
    cache_->Touch(shared_from_this());
  }
  return file;
}

Status OverlayFiles::OpenBoth() {
  Result<Ref> data = Open(kData);
  if (!data && data.error().code == EROFS) {
    {
      MutexLock lock(mutex_);
      flags_ = O_RDONLY;
    }
    data = Open(kData);
  }
  XZFS_RETURN_IF_ERROR(data);
  XZFS_RETURN_IF_ERROR(Open(kLog));
  return {};
}

bool OverlayFiles::IsReadOnly() const {
  MutexLock lock(mutex_);
  return flags_ == O_RDONLY;
}

OverlayFiles::Ref OverlayFiles::IfOpen(Which which) {
  MutexLock lock(mutex_);
  return open_[which];
}

Result<Descriptor> OverlayFiles::MakeFresh(Which which) const {
  const std::string name = NameOf(which) + kFreshSuffix;
  const int fd = os_.OpenBeneath(folder_, name, O_RDWR | O_CREAT | O_TRUNC, kPrivateFileMode);
  if (fd < 0) {
    return FailErrno(-fd, "make " + name + " for an overlay");
  }
  return Descriptor(os_, fd);
}

void OverlayFiles::DropFresh(Which which) const {
  os_.Unlink(folder_, NameOf(which) + kFreshSuffix, 0);
}

Status OverlayFiles::InstallFresh(Which which, Descriptor fresh) {
  const std::string name = NameOf(which) + kFreshSuffix;
  if (const int error = os_.Rename(folder_, name, folder_, NameOf(which), 0); error < 0) {
    DropFresh(which);
    return FailErrno(-error, "rename " + name + " of an overlay");
  }
  const Ref now = std::make_shared<const Descriptor>(std::move(fresh));
  Ref old;  // closed after the lock is released
  MutexLock lock(mutex_);
  old = std::exchange(open_[which], now);
  return {};
}

Status OverlayFiles::Write(int fd, std::span<const std::byte> bytes, uint64_t offset) const {
  const int error = os_.WriteAll(fd, bytes, offset);
  return error < 0 ? FailErrno(-error, "write the overlay " + id_) : Status();
}

Status OverlayFiles::KeepOpen() {
  {
    MutexLock lock(mutex_);
    is_kept_ = true;
  }
  for (const Which which : {kData, kLog}) {
    if (const auto opened = Open(which); !opened) {
      LetClose();
      return Failure(opened.error());
    }
  }
  LeaveCache();
  return {};
}

void OverlayFiles::LetClose() {
  {
    MutexLock lock(mutex_);
    is_kept_ = false;
  }
  if (cache_ != nullptr) {
    cache_->Touch(shared_from_this());
  }
}

void OverlayFiles::Close() {
  std::array<Ref, 2> closed;  // after the lock
  MutexLock lock(mutex_);
  if (!is_kept_ && !is_gone_) {
    closed.swap(open_);
  }
}

void OverlayFiles::LeaveCache() {
  if (cache_ != nullptr) {
    cache_->Remove(*this);
  }
}

void OverlayFiles::Forget() {
  MutexLock lock(mutex_);
  is_gone_ = true;
}

int OverlayFiles::Stat(struct stat* st) {
  const Ref data = IfOpen(kData);
  return data != nullptr ? os_.FStat(data->get(), st) : os_.StatAt(folder_, NameOf(kData), st);
}

int OverlayFiles::SetTimes(const struct timespec times[2]) {
  const Ref data = IfOpen(kData);
  return data != nullptr ? os_.FSetTimes(data->get(), times)
                         : os_.SetTimes(folder_, NameOf(kData), times);
}

int OverlayFiles::ChangeMode(mode_t mode) {
  const Ref data = IfOpen(kData);
  return data != nullptr ? os_.FChangeMode(data->get(), mode)
                         : os_.ChangeMode(folder_, NameOf(kData), mode);
}

}  // namespace xzfs
