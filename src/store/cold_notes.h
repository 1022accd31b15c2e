// What the search for cold files remembers from one mount to the next.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/mutex.h"
#include "store/unshrinkable_files.h"

namespace xzfs {

// Where the search is, and which files don't shrink. Both are hints: without them files are looked
// at again. Thread-safe. The format is in docs/format.md, "Hints".
class ColdNotes {
 public:
  // What the notes hold for.
  struct Scope {
    uint64_t device = 0;  // of the files; it is not stored
    // By which share the files would have had to shrink. Files that were tried for more than that
    // are left out.
    double least_saving = 0;
  };

  // `files`: those that don't shrink; outlives the notes.
  explicit ColdNotes(UnshrinkableFiles& files) : files_(files) {}

  UnshrinkableFiles& files() { return files_; }

  // Takes over what `bytes` say, up to the first part that makes no sense.
  void Parse(std::string_view bytes, const Scope& scope) EXCLUDES(mutex_);
  // Empty if there is nothing to be remembered. About 2.7 MiB at the most.
  std::string Serialize(const Scope& scope) EXCLUDES(mutex_);

  // The directory that the search is in, below the source; empty: it begins at the start.
  std::string position() EXCLUDES(mutex_);
  void SetPosition(const std::string& directory) EXCLUDES(mutex_);

  // Whether something changed since the last Serialize.
  bool changed() EXCLUDES(mutex_);

 private:
  UnshrinkableFiles& files_;
  Mutex mutex_;
  std::string position_ GUARDED_BY(mutex_);
  bool changed_ GUARDED_BY(mutex_) = false;        // the position
  uint64_t files_version_ GUARDED_BY(mutex_) = 0;  // that was serialized
};

}  // namespace xzfs
