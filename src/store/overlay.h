// The changes of one compressed file that are not committed.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "base/os.h"
#include "store/logged_content.h"
#include "store/overlay_content.h"
#include "store/overlay_copies.h"
#include "store/overlay_files.h"
#include "store/overlay_log.h"
#include "store/overlay_syncs.h"
#include "xzfs/random_access_file.h"
#include "xzfs/result.h"

namespace xzfs {

// What an overlay knows about its file beside the content: for the next mount, and for commits.
struct OverlayNotes {
  // Overlay::NoteDropped was the last note about the path.
  bool dropped = false;
  // Load found changes that were not synced before the power was cut: they don't count.
  bool lost_changes = false;
  // What the last NotePublishing said.
  std::optional<LogPublishing> published_as;
  uint64_t published_content = 0;
  // There was a change since NotePublishing: what was published lacks it.
  bool has_changed_since_publishing = false;
};

// An overlay is two files in a session's folder. "ID.data" is sparse: it holds each byte that was
// written, at its offset in the logical file, and it has that file's size and times. "ID.log" says
// what of the data file counts. Thread-safe.
//
// A change that was acknowledged survives the process. After Sync it survives a power cut.
class Overlay {
 public:
  // `folder` and `os` outlive it. `times`: the atime and mtime of the logical file. `cache`: of the
  // descriptors; null: they stay open.
  static Result<std::unique_ptr<Overlay>> Create(Os& os, int folder, std::string id,
                                                 const OverlayBase& base, std::string_view boot_id,
                                                 const struct timespec times[2],
                                                 std::shared_ptr<OverlayFileCache> cache = nullptr);

  // Loads an overlay that an earlier process left. If its log was begun in another boot than
  // `boot_id`, only what was synced counts. Errors: kSystem if it could not be read, or if the
  // damage is such that nothing is known about it; it stays as it is. kDamaged: it has nothing that
  // was acknowledged.
  static Result<std::unique_ptr<Overlay>> Load(Os& os, int folder, std::string id,
                                               std::string_view boot_id,
                                               std::shared_ptr<OverlayFileCache> cache = nullptr);
  ~Overlay();
  Overlay(const Overlay&) = delete;
  Overlay& operator=(const Overlay&) = delete;

  // Reads from the logical file: the bytes that were written, and for the others those of `base`,
  // the decoded stored file.
  Result<size_t> ReadAt(const RandomAccessFile& base, uint64_t offset,
                        std::span<std::byte> out) const EXCLUDES(mutex_);

  // An error leaves the content as it was, with two exceptions: bytes that had been written before
  // may have the new value, and what a Truncate has cut off is gone.
  Status Write(uint64_t offset, std::span<const std::byte> bytes) EXCLUDES(mutex_);
  // Writes at the end that the file has now. Returns where that was.
  Result<uint64_t> Append(std::span<const std::byte> bytes) EXCLUDES(mutex_);
  Status Truncate(uint64_t size) EXCLUDES(mutex_);
  // Makes these bytes zeros. Doesn't change the size.
  Status Zero(uint64_t offset, uint64_t length) EXCLUDES(mutex_);
  // After a sync that failed it fails until Renew: the kernel drops what it could not write.
  // Blocks: on I/O, and while another thread syncs.
  Status Sync(SyncScope scope) EXCLUDES(mutex_);

  // After a Sync that failed: writes both files again from what can be read, and syncs them. Then
  // Sync works again. To be called when no program is left that must see it fail.
  Status Renew() EXCLUDES(mutex_);

  // While a program may write, it relies on the next Sync to report every error: so the caller
  // keeps the files open (OverlayFiles::KeepOpen).
  OverlayFiles& files() { return *files_; }

  uint64_t size() const EXCLUDES(mutex_);
  // Of the data file. Its size, times and allocated blocks are those of the logical file.
  Result<struct stat> Stat() const EXCLUDES(mutex_);
  Status SetTimes(const struct timespec times[2]) EXCLUDES(mutex_);
  void TouchCtime();
  // All bytes [begin, end) of the logical file come from the base.
  bool IsBase(uint64_t begin, uint64_t end) const EXCLUDES(mutex_);

  const std::string& id() const { return files_->id(); }
  OverlayBase base() const EXCLUDES(mutex_);

  OverlayNotes notes() const EXCLUDES(mutex_);

  // The stored file is at `path` now. For the next mount.
  Status NotePath(std::string path) EXCLUDES(mutex_);
  // The file is about to lose its last name: without its base the overlay means nothing. The note
  // is on the disk when this returns, so that a removal that survives a power cut is not taken for
  // a loss. NotePath takes it back.
  Status NoteDropped() EXCLUDES(mutex_);
  // A stored file with this inode number, size and mtime has all that is in here. The note is on
  // the disk when this returns. `content`: the file's ContentHash, or 0.
  Status NotePublishing(const LogPublishing& as, uint64_t content = 0) EXCLUDES(mutex_);
  // The base was found by its content: it has this inode number now.
  void NoteInode(uint64_t inode) EXCLUDES(mutex_);
  // A Sync failed, and there was no Renew since.
  bool has_sync_error() const { return sync_error().has_value(); }
  std::optional<Error> sync_error() const EXCLUDES(mutex_);
  // The stored file is now what was published: that is the base from here on.
  void RebaseOnPublished() EXCLUDES(mutex_);

  // Removes the files. Whoever still holds the overlay can read it, or gets ESTALE.
  Status Remove() EXCLUDES(mutex_);
  // Moves the files away (MoveFiles).
  Result<OverlayMove> MoveTo(int folder, const std::string& name) EXCLUDES(mutex_);

  // For tests: the log's largest size.
  void LimitLog(uint64_t bytes) EXCLUDES(mutex_);

 private:
  Overlay(Os& os, int folder, std::string id, std::shared_ptr<OverlayFileCache> cache);

  Status WriteLocked(uint64_t offset, std::span<const std::byte> bytes) REQUIRES(mutex_);
  Status NoteAndSync(const LogRecord& record) EXCLUDES(mutex_);

  const std::shared_ptr<OverlayFiles> files_;
  // Changes so far, times included.
  std::atomic<uint64_t> changes_{1};
  mutable Mutex mutex_;
  OverlaySyncs syncs_ GUARDED_BY(mutex_);
  LoggedContent logged_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
