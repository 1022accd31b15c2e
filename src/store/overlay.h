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
#include "store/overlay_content.h"
#include "store/overlay_files.h"
#include "store/overlay_log.h"
#include "xzfs/random_access_file.h"
#include "xzfs/result.h"

namespace xzfs {

// Two files in a session's folder: "ID.data", sparse, which holds what was written at its offset in
// the logical file and has that file's size and times; and "ID.log", which tells what of the data
// file counts. Thread-safe.
//
// A change that was acknowledged is there after the process was killed. After Sync it is there
// after a power cut.
class Overlay {
 public:
  // `folder` and `os` outlive it. `times`: atime and mtime that the logical file has. `cache`: of
  // the descriptors; null: they stay open.
  static Result<std::unique_ptr<Overlay>> Create(Os& os, int folder, std::string id,
                                                 const OverlayBase& base, std::string_view boot_id,
                                                 const struct timespec times[2],
                                                 std::shared_ptr<OverlayFileCache> cache = nullptr);

  // One that an earlier process left. If the log was begun in another boot than `boot_id`, only
  // what was synced counts. Errors: kSystem if it could not be read, or is damaged so that
  // nothing can be told: it stays as it is. kDamaged: nothing in it was acknowledged.
  static Result<std::unique_ptr<Overlay>> Load(Os& os, int folder, std::string id,
                                               std::string_view boot_id,
                                               std::shared_ptr<OverlayFileCache> cache = nullptr);
  ~Overlay();
  Overlay(const Overlay&) = delete;
  Overlay& operator=(const Overlay&) = delete;

  // Of the logical file: what was written, else what `base`, the decoded stored file, has.
  Result<size_t> ReadAt(const RandomAccessFile& base, uint64_t offset,
                        std::span<std::byte> out) const EXCLUDES(mutex_);

  // After an error the content is what it was, but for bytes that were written before already, and
  // for what a Truncate has cut off.
  Status Write(uint64_t offset, std::span<const std::byte> bytes) EXCLUDES(mutex_);
  // At the end that the file has now. Returns where that was.
  Result<uint64_t> Append(std::span<const std::byte> bytes) EXCLUDES(mutex_);
  Status Truncate(uint64_t size) EXCLUDES(mutex_);
  // Doesn't change the size.
  Status Zero(uint64_t offset, uint64_t length) EXCLUDES(mutex_);
  // Once a file could not be synced it fails until Renew: what the kernel could not write it drops.
  // Blocks: on I/O, and while another thread syncs.
  Status Sync(bool only_data) EXCLUDES(mutex_);

  // After a Sync that failed: writes both files again from what can be read, and syncs them; then
  // Sync works again. For when nobody is left who must see it fail.
  Status Renew() EXCLUDES(mutex_);

  // Somebody may write, who relies on being told of every error at the next Sync: until LetClose
  // the descriptors stay open.
  Status KeepOpen() { return files_->KeepOpen(); }
  void LetClose() { files_->LetClose(); }

  uint64_t size() const EXCLUDES(mutex_);
  // Of the data file: size, times and allocated blocks are the logical file's.
  Result<struct stat> Stat() const EXCLUDES(mutex_);
  Status SetTimes(const struct timespec times[2]) EXCLUDES(mutex_);
  void TouchCtime();
  // The bytes [begin, end) of the logical file are all the base's.
  bool IsBase(uint64_t begin, uint64_t end) const EXCLUDES(mutex_);

  const std::string& id() const { return id_; }
  OverlayBase base() const EXCLUDES(mutex_);

  // Notes for the next mount.
  Status NotePath(std::string path) EXCLUDES(mutex_);
  // The file is about to lose its last name: without its base the overlay means nothing. On the
  // disk when it returns, so that a removal that survives a power cut is not taken for a loss.
  // NotePath takes it back.
  Status NoteDropped() EXCLUDES(mutex_);
  // A stored file with this inode number, size and mtime has all that is in here. On the disk when
  // it returns.
  // `content`: its ContentHash, or 0.
  Status NotePublishing(const LogPublishing& as, uint64_t content = 0) EXCLUDES(mutex_);
  // The base was found by its content: it has this inode number now.
  void NoteInode(uint64_t inode) EXCLUDES(mutex_);
  uint64_t published_content() const EXCLUDES(mutex_);
  bool dropped() const EXCLUDES(mutex_);
  // A Sync failed, and there was no Renew since.
  bool has_sync_error() const EXCLUDES(mutex_);
  std::optional<Error> sync_error() const EXCLUDES(mutex_);
  // Load found changes that were not synced before the power was cut: they don't count.
  bool lost_changes() const EXCLUDES(mutex_);
  std::optional<LogPublishing> published_as() const EXCLUDES(mutex_);
  // There was a change since NotePublishing: what was published lacks it.
  bool has_changed_since_publishing() const EXCLUDES(mutex_);
  // What was published is there under the base's inode number, and is the base from here on.
  void RebaseOnPublished() EXCLUDES(mutex_);

  // Removes the files. Who holds the overlay can still read, or is told ESTALE.
  Status Remove() EXCLUDES(mutex_);
  // Gives the files to somebody else, as `name` with their suffixes. kNothing: the data was there
  // no more.
  enum class Moved { kAll, kNothing };
  Result<Moved> MoveTo(int folder, const std::string& name) EXCLUDES(mutex_);

  // For tests: a log takes no more than that.
  void LimitLog(uint64_t bytes) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    most_log_bytes_ = bytes;
  }

 private:
  // Random writes make a record each; so much is read back in a few milliseconds.
  static constexpr uint64_t kLeastCompaction = uint64_t{1} << 20;
  // A larger one isn't read back.
  static constexpr uint64_t kMostLogBytes = uint64_t{1} << 30;

  Overlay(Os& os, int folder, std::string id, std::shared_ptr<OverlayFileCache> cache);

  Status Begin(const OverlayBase& base, std::string_view boot_id, const struct timespec times[2])
      EXCLUDES(mutex_);
  Status OpenBoth() EXCLUDES(mutex_);
  Result<std::vector<std::byte>> LogBytes() const REQUIRES(mutex_);
  Status ReadLog(std::string_view boot_id) EXCLUDES(mutex_);
  Status ReadCut() REQUIRES(mutex_);
  Status PrepareLog() REQUIRES(mutex_);
  Status PrepareChange() REQUIRES(mutex_);
  Status RequireRoom() REQUIRES(mutex_);
  Status Append(const LogRecord& record) REQUIRES(mutex_);
  Status AppendAndReplay(const LogRecord& record) REQUIRES(mutex_);
  Status Note(const LogRecord& record) REQUIRES(mutex_);
  Status NoteAndSync(const LogRecord& record) EXCLUDES(mutex_);
  Status ZeroData(uint64_t offset, uint64_t length);
  Status WriteLocked(uint64_t offset, std::span<const std::byte> bytes) REQUIRES(mutex_);
  Status AddExtent(uint64_t begin, uint64_t end) REQUIRES(mutex_);
  Status WriteFully(int fd, std::span<const std::byte> bytes, uint64_t offset) const;
  Status TakeSyncTurn() REQUIRES(mutex_);
  void EndSyncTurn() REQUIRES(mutex_);
  Status NoteSync(int error) REQUIRES(mutex_);
  Status SyncFile(OverlayFiles::Which which, bool only_data) REQUIRES(mutex_);
  Status CompactLog() REQUIRES(mutex_);
  void TakeFreshLog(Descriptor fresh, uint64_t size) REQUIRES(mutex_);
  Status WriteAnew() REQUIRES(mutex_);
  Status CopyBytes(int from, int to, uint64_t begin, uint64_t end,
                   std::vector<std::byte>& buffer) const;
  Status CopyFile(const Descriptor& from, int folder, const std::string& to);

  Os& os_;
  const int folder_;
  const std::string id_;
  const std::shared_ptr<OverlayFileCache> cache_;
  const std::shared_ptr<OverlayFiles> files_;
  mutable Mutex mutex_;
  uint64_t most_log_bytes_ GUARDED_BY(mutex_) = kMostLogBytes;
  uint64_t log_end_ GUARDED_BY(mutex_) = 0;
  // The log has records that don't count: nothing may be appended to it before it was rewritten.
  bool log_is_stale_ GUARDED_BY(mutex_) = false;
  // Changes so far, times included, and how many of them a Sync has covered.
  std::atomic<uint64_t> changes_{1};
  uint64_t synced_changes_ GUARDED_BY(mutex_) = 0;
  // What the data file was cut to, and the log doesn't tell of yet: goes before the next record.
  std::optional<LogResize> owed_ GUARDED_BY(mutex_);
  bool removed_ GUARDED_BY(mutex_) = false;
  // On a file system that is read-only: it can be read, and any change is EROFS.
  bool read_only_ GUARDED_BY(mutex_) = false;
  bool lost_changes_ GUARDED_BY(mutex_) = false;
  // After which it is worth looking whether the log can be made shorter.
  uint64_t compact_at_ GUARDED_BY(mutex_) = 0;
  OverlayContent content_ GUARDED_BY(mutex_);
  std::optional<Error> sync_error_ GUARDED_BY(mutex_);
  // One thread syncs at a time, and meanwhile the log is not replaced. The kernel tells of an error
  // once: a second one would be told that all is well.
  bool syncing_ GUARDED_BY(mutex_) = false;
  CondVar sync_ended_;
};

}  // namespace xzfs
