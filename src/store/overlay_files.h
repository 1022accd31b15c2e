// The descriptors of overlays: a bounded number of them, however many files are edited.
#pragma once

#include <fcntl.h>
#include <time.h>

#include <array>
#include <cstddef>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "base/os.h"
#include "xzfs/result.h"

namespace xzfs {

class OverlayFiles;

// Which overlays' files were used last: those of the others are closed. Thread-safe.
class OverlayFileCache {
 public:
  // `capacity`: overlays, of two descriptors each.
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
// A descriptor that is closed with bytes that were not synced takes nothing with it: they are in
// the kernel's page cache, and an error in writing them back that nobody was told of is told to the
// first sync through a new one, as long as the kernel knows the inode. That is what a program gets
// that closes a file and opens it again. Who still has it open relies on more: so the files of an
// overlay are kept open while somebody may write to it.
class OverlayFiles : public std::enable_shared_from_this<OverlayFiles> {
 public:
  enum Which { kData, kLog };
  using Ref = std::shared_ptr<const Descriptor>;

  // `os` and `folder` outlive it. `cache`: null if nothing is to be closed.
  OverlayFiles(Os& os, int folder, std::string id, std::shared_ptr<OverlayFileCache> cache)
      : os_(os), folder_(folder), id_(std::move(id)), cache_(std::move(cache)) {}

  const std::string& id() const { return id_; }
  std::string NameOf(Which which) const { return id_ + (which == kData ? ".data" : ".log"); }

  // Open for reading and writing for as long as the reference lives. ESTALE after Remove.
  Result<Ref> Open(Which which) EXCLUDES(mutex_);
  // What must not be there yet.
  Result<Ref> Create(Which which) EXCLUDES(mutex_);
  // The file system is read-only: from now on they are opened for reading.
  void OnlyRead() EXCLUDES(mutex_);
  // Null if it isn't open.
  Ref IfOpen(Which which) EXCLUDES(mutex_);
  // Another file has the name now.
  void Replace(Which which, Descriptor file) EXCLUDES(mutex_);

  // Until LetClose they are not closed.
  Status KeepOpen() EXCLUDES(mutex_);
  void LetClose() EXCLUDES(mutex_);
  // Those who use them just now go on.
  void Close() EXCLUDES(mutex_);
  // There are no names by which they could be opened again.
  void Forget() EXCLUDES(mutex_);

  // Of the data file, by its name if it isn't open. As the calls of Os.
  int Stat(struct stat* st) EXCLUDES(mutex_);
  int SetTimes(const struct timespec times[2]) EXCLUDES(mutex_);
  int ChangeMode(mode_t mode) EXCLUDES(mutex_);

 private:
  Result<Ref> OpenLocked(Which which, int flags) REQUIRES(mutex_);

  Os& os_;
  const int folder_;
  const std::string id_;
  const std::shared_ptr<OverlayFileCache> cache_;
  Mutex mutex_;
  std::array<Ref, 2> open_ GUARDED_BY(mutex_);
  int flags_ GUARDED_BY(mutex_) = O_RDWR;
  bool is_kept_ GUARDED_BY(mutex_) = false;
  bool is_gone_ GUARDED_BY(mutex_) = false;
};

}  // namespace xzfs
