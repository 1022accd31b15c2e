// Counts what was done with many files, and what was skipped and why.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/mutex.h"
#include "ctl/replace/tree.h"
#include "ctl/shell/console.h"
#include "xzfs/result.h"

namespace xzfs {

// Thread-safe.
class Tally {
 public:
  // How two sizes are compared: as xz does, by the compressed size in parts of the plain one.
  enum class Ratio { kNewToOld, kOldToNew };

  // `verbose`: each file is reported.
  Tally(Console& console, bool verbose, Ratio ratio)
      : console_(console), verbose_(verbose), ratio_(ratio) {}

  // A file of `old_bytes` has become one of `new_bytes`.
  void AddDone(const std::string& path, uint64_t old_bytes, uint64_t new_bytes) EXCLUDES(mutex_);
  // The file stays as it is. If the command line names it, there is a warning; other files are only
  // counted, or noted if verbose.
  void AddSkipped(const FoundFile& file, const std::string& reason) {
    AddSkipped(file.path(), file.is_named, reason);
  }
  // The files of a `reason` are counted together. `detail` is said of this one; "": the reason.
  void AddSkipped(const std::string& path, bool is_named, const std::string& reason,
                  const std::string& detail = {}) EXCLUDES(mutex_);
  // The file stays as it is because of an error.
  void AddFailed(const FoundFile& file, const Error& error) EXCLUDES(mutex_);

  // "1204 files, 1.2 GiB -> 301.2 MiB (0.245); skipped 15: already compressed (12), ... (3)", after
  // `verb`.
  std::string Summary(const std::string& verb) EXCLUDES(mutex_);

 private:
  // "1.2 GiB -> 301.2 MiB (0.245)".
  std::string Change(uint64_t old_bytes, uint64_t new_bytes) const;

  Console& console_;
  const bool verbose_;
  const Ratio ratio_;
  Mutex mutex_;
  uint64_t files_ GUARDED_BY(mutex_) = 0;
  uint64_t old_bytes_ GUARDED_BY(mutex_) = 0;
  uint64_t new_bytes_ GUARDED_BY(mutex_) = 0;
  uint64_t failed_ GUARDED_BY(mutex_) = 0;
  std::map<std::string, uint64_t> skipped_ GUARDED_BY(mutex_);  // by reason
};

}  // namespace xzfs
