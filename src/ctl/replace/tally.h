// Counts what was done with many files, and what was skipped and why.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "ctl/replace/tree.h"
#include "ctl/shell/console.h"
#include "ctl/shell/json.h"
#include "xzfs/result.h"

namespace xzfs {

// What a file, or all files together, took and take now.
struct Replaced {
  uint64_t old_bytes = 0;
  uint64_t new_bytes = 0;
  // The sizes of the plain and of the new compressed form. Of unpack: of the old one.
  uint64_t plain_bytes = 0;
  uint64_t compressed_bytes = 0;

  void Add(const Replaced& other);
};

// How files are reported as they are done.
enum class EachFile { kSilent, kNoted, kInDocument };

// Thread-safe.
class Tally {
 public:
  Tally(Console& console, EachFile each) : console_(console), each_(each) {}

  // A file has another form now.
  void AddDone(const std::string& path, const Replaced& file) EXCLUDES(mutex_);
  // The file stays as it is. If the command line names it, there is a warning; other files are only
  // counted, or noted with kNoted.
  void AddSkipped(const FoundFile& file, const std::string& reason) {
    AddSkipped(file.path(), file.is_named, reason);
  }
  // The files of a `reason` are counted together. `detail` is said of this one; "": the reason.
  void AddSkipped(const std::string& path, bool is_named, const std::string& reason,
                  const std::string& detail = {}) EXCLUDES(mutex_);
  // The file stays as it is because of an error.
  void AddFailed(const FoundFile& file, const Error& error) EXCLUDES(mutex_);

  // "1204 files, 1.2 GiB -> 301.2 MiB (0.245); skipped 15: already compressed (12), ... (3)", after
  // `verb`. The ratio is compressed / plain.
  std::string Summary(const std::string& verb) EXCLUDES(mutex_);
  // The same for a document: adds to `json`.
  void AddTo(Json& json) const EXCLUDES(mutex_);

 private:
  Console& console_;
  const EachFile each_;
  mutable Mutex mutex_;
  uint64_t files_ GUARDED_BY(mutex_) = 0;
  Replaced sum_ GUARDED_BY(mutex_);
  std::vector<std::pair<std::string, Replaced>> done_ GUARDED_BY(mutex_);  // kInDocument
  uint64_t failed_ GUARDED_BY(mutex_) = 0;
  std::map<std::string, uint64_t> skipped_ GUARDED_BY(mutex_);  // by reason
};

}  // namespace xzfs
