// What an overlay has, in memory and in its log.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "store/overlay_content.h"
#include "store/overlay_files.h"
#include "store/overlay_log.h"
#include "store/overlay_syncs.h"
#include "xzfs/result.h"

namespace xzfs {

// The log's largest size. It takes a few hundred milliseconds to read such a log back.
inline constexpr uint64_t kMostLogBytes = uint64_t{1} << 30;

// An OverlayContent together with the file "ID.log" that says the same. A record is first in the
// log and then in the content.
//
// Not thread-safe: the overlay's lock guards it. Methods that may wait for another thread's sync
// release that lock, which they take as `lock`.
class LoggedContent {
 public:
  // `files`, `syncs` and `changes` outlive it. `changes`: goes up with each record except Synced.
  LoggedContent(OverlayFiles& files, OverlaySyncs& syncs, std::atomic<uint64_t>& changes)
      : files_(files), syncs_(syncs), changes_(changes) {}

  const OverlayContent& content() const { return content_; }

  // Of a new overlay, whose log is there and empty.
  Status Begin(const OverlayBase& base, std::string_view boot_id);
  // Reads a log that an earlier process left. Errors: as of Overlay::Load.
  Status Load(std::string_view boot_id);
  // Load found changes that were not synced before the power was cut: they don't count.
  bool lost_changes() const { return lost_changes_; }

  // Makes the log one that may be added to. To be called before any change or note.
  Status Prepare(Mutex& lock) REQUIRES(lock);
  // The same, and notes the first change after Publishing before it is made: bytes that the log
  // has already, and times, leave no record of their own.
  Status PrepareChange(Mutex& lock) REQUIRES(lock);
  // Fails if the log has no room for another change. What is left then is for notes, and for what
  // a change that was begun may need.
  Status RequireRoom();

  // Adds a record to the log and to the content. After an error neither has it.
  Status Record(const LogRecord& record);
  // The data file has these bytes now. Adds nothing if the log says so already.
  Status RecordExtent(uint64_t begin, uint64_t end);
  // What the log says up to end() is on the disk. The content doesn't change.
  Status RecordSynced(uint64_t end) { return Append(LogSynced{end}); }
  // The data file was cut to `size`, and the record of that failed: it is the next one.
  void OweResize(uint64_t size);
  // Prepare, then Record.
  Status Note(const LogRecord& record, Mutex& lock) REQUIRES(lock);
  // Where the next record begins.
  uint64_t end() const { return end_; }

  // They change the header: the log is rewritten before the next record.
  void SetInode(uint64_t inode);
  void RebaseOnPublished();

  // Writes both files again from what can be read of the old ones, and forgives the failed sync.
  // REQUIRES: the caller has the turn to sync.
  Status WriteAgain();

  // The names belong to other files, or to none: from now on no file is written under them.
  void Retire() { is_retired_ = true; }

  // For tests: the log's largest size.
  void Limit(uint64_t bytes) { most_bytes_ = bytes; }

 private:
  Result<std::vector<std::byte>> ReadBytes() const;
  // Returns up to where the records count, if the log was begun in the boot `boot_id`.
  uint64_t Replay(const ParsedLog& log, bool is_of_this_boot);
  Status FindCut();
  Status Append(const LogRecord& record);
  Status Compact();
  Result<Descriptor> WriteFresh(const std::string& bytes);
  Status Install(Descriptor fresh, uint64_t size);

  OverlayFiles& files_;
  OverlaySyncs& syncs_;
  std::atomic<uint64_t>& changes_;
  OverlayContent content_;
  uint64_t end_ = 0;
  uint64_t most_bytes_ = kMostLogBytes;
  // From this size on it is worth looking whether the log can be made shorter.
  uint64_t compact_at_ = 0;
  // The log has records that don't count: it must be rewritten before anything is added.
  bool is_stale_ = false;
  // The data file was cut to this size, and the log doesn't say so yet.
  std::optional<LogResize> owed_;
  bool is_retired_ = false;
  bool lost_changes_ = false;
};

}  // namespace xzfs
