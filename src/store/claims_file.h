// The file of a session that its claims are written to.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "base/mutex.h"
#include "base/os.h"
#include "xzfs/result.h"

namespace xzfs {

// An append-only file of records (store/records.h), which may be written again with fewer of them.
// Other mounts of the source read it in the meantime.
//
// Not thread-safe: the lock of Claims guards it.
class ClaimsFile {
 public:
  static constexpr const char* kName = "claims";
  // A rewrite that has not ended. It doesn't count.
  static constexpr const char* kNewName = "claims.new";

  // `folder`, the session's, and `os` outlive it. `path`: of the folder, for messages.
  ClaimsFile(Os& os, int folder, std::string path)
      : os_(os), folder_(folder), path_(std::move(path)) {}

  // Makes the file if it isn't open. It must not be there yet.
  Status Open();
  void Close() { file_ = Descriptor(); }
  // Adds a record at the end that we know: what a failed write left there is overwritten.
  // REQUIRES: it is open.
  Status Append(const std::string& record);
  // What was appended before is on the disk when it returns, and so is the file's name. Releases
  // `lock` while it syncs. REQUIRES: it is open, and no other thread syncs or rewrites it.
  Status Sync(Mutex& lock) REQUIRES(lock);

  // A sync failed: nothing is certain to be on the disk until Rewrite succeeds.
  bool must_rewrite() const { return must_rewrite_; }
  // It has become long, and most of it is from after the last rewrite.
  bool IsTooLong() const;
  // Replaces its records by `records`, which are on the disk before they have the file's name.
  // After an error it may have the old records or the new ones, and perhaps not yet on the disk.
  Status Rewrite(const std::string& records);
  // None of its records counts any more: truncates it, if it is long enough for that to be worth a
  // sync. First what was done in the folder is synced.
  void Clear();

 private:
  Os& os_;
  const int folder_;
  const std::string path_;
  Descriptor file_;
  uint64_t end_ = 0;        // of the last whole record
  uint64_t rewritten_ = 0;  // what the last rewrite left, in bytes
  bool is_named_ = false;   // the file's name is on the disk
  bool must_rewrite_ = false;
};

}  // namespace xzfs
