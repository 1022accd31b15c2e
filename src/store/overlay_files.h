// The files of overlays, and a bounded number of descriptors, however many files are edited.
#pragma once

#include <fcntl.h>
#include <time.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "base/os.h"
#include "xzfs/result.h"

namespace xzfs {

class OverlayFiles;

// Keeps open the files of the overlays that were used last, and closes the others. Thread-safe.
class OverlayFileCache {
 public:
  // `capacity`: how many overlays, with two descriptors each.
  explicit OverlayFileCache(size_t capacity) : capacity_(capacity) {}

  void Touch(const std::shared_ptr<OverlayFiles>& files) EXCLUDES(mutex_);
  void Remove(const OverlayFiles& files) EXCLUDES(mutex_);
  // Makes room for another descriptor. False if none can be closed.
  bool CloseOldest() EXCLUDES(mutex_);

  size_t size() EXCLUDES(mutex_);
  size_t capacity() const { return capacity_; }

 private:
  using Entries = std::list<std::shared_ptr<OverlayFiles>>;

  const size_t capacity_;
  Mutex mutex_;
  Entries entries_ GUARDED_BY(mutex_);  // most recently used first
  std::unordered_map<const OverlayFiles*, Entries::iterator> by_files_ GUARDED_BY(mutex_);
};

// "ID.data" and "ID.log" in a session's folder, opened when they are used. Thread-safe.
//
// Closing a descriptor whose bytes were not synced loses nothing: they are in the kernel's page
// cache. If writing them back fails and no sync has reported it, the first sync through a new
// descriptor does, as long as the kernel knows the inode. A program that closes a file and opens it
// again gets the same. A program that keeps it open relies on more: so the files of an overlay stay
// open while a program may write to it.
class OverlayFiles : public std::enable_shared_from_this<OverlayFiles> {
 public:
  enum Which { kData, kLog };
  using Ref = std::shared_ptr<const Descriptor>;

  // `os` and `folder` outlive it. `cache`: null if the files are never to be closed.
  OverlayFiles(Os& os, int folder, std::string id, std::shared_ptr<OverlayFileCache> cache)
      : os_(os), folder_(folder), id_(std::move(id)), cache_(std::move(cache)) {}

  Os& os() const { return os_; }
  int folder() const { return folder_; }
  const std::string& id() const { return id_; }
  std::string NameOf(Which which) const { return id_ + (which == kData ? ".data" : ".log"); }

  // The file stays open for reading and writing as long as the reference lives. ESTALE after
  // Forget, if it isn't open.
  Result<Ref> Open(Which which) EXCLUDES(mutex_);
  // The same, for a file that must not be there yet.
  Result<Ref> Create(Which which) EXCLUDES(mutex_);
  // Opens both, the data file first. On a file system that is read-only they are opened for
  // reading, and IsReadOnly is true from now on.
  Status OpenBoth() EXCLUDES(mutex_);
  bool IsReadOnly() const EXCLUDES(mutex_);
  // The file if it is open, else null.
  Ref IfOpen(Which which) EXCLUDES(mutex_);

  // Makes an empty file that is to replace one of the two: its name is that file's and ".new".
  Result<Descriptor> MakeFresh(Which which) const;
  // Removes the name that MakeFresh gave, if it is there.
  void DropFresh(Which which) const;
  // Gives `fresh` the file's name. A failure leaves the old file, and drops the fresh one.
  Status InstallFresh(Which which, Descriptor fresh) EXCLUDES(mutex_);
  // Writes all of `bytes` to one of these files, which is open as `fd`.
  Status Write(int fd, std::span<const std::byte> bytes, uint64_t offset) const;

  // Opens both and keeps them open until LetClose.
  Status KeepOpen() EXCLUDES(mutex_);
  void LetClose() EXCLUDES(mutex_);
  // Closes both, unless KeepOpen is in force. A thread that has a reference can go on.
  void Close() EXCLUDES(mutex_);
  // Gives back the place in the cache.
  void LeaveCache();
  // The files have lost their names: they are not closed, as they could not be opened again.
  void Forget() EXCLUDES(mutex_);

  // For the data file, by its name if it isn't open. They return what the calls of Os do.
  int Stat(struct stat* st) EXCLUDES(mutex_);
  int SetTimes(const struct timespec times[2]) EXCLUDES(mutex_);
  int ChangeMode(mode_t mode) EXCLUDES(mutex_);

 private:
  Result<Ref> OpenLocked(Which which, int flags) REQUIRES(mutex_);

  Os& os_;
  const int folder_;
  const std::string id_;
  const std::shared_ptr<OverlayFileCache> cache_;
  mutable Mutex mutex_;
  std::array<Ref, 2> open_ GUARDED_BY(mutex_);
  int flags_ GUARDED_BY(mutex_) = O_RDWR;
  bool is_kept_ GUARDED_BY(mutex_) = false;
  bool is_gone_ GUARDED_BY(mutex_) = false;
};

}  // namespace xzfs
