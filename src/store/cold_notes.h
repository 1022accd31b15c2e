// What the search for cold files remembers from one mount to the next.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/mutex.h"

namespace xzfs {

// Where the search is, and which files don't shrink. Both are hints: without them files are looked
// at again. Thread-safe. The format is in docs/format.md, "Hints".
class ColdNotes {
 public:
  // About 2.7 MiB of notes. If there are more files, some are tried again.
  static constexpr size_t kMostFiles = 65536;

  // Takes over what `bytes` say, up to the first part that makes no sense.
  void Parse(std::string_view bytes) EXCLUDES(mutex_);
  // Empty if there is nothing to be remembered.
  std::string Serialize() EXCLUDES(mutex_);

  // The directory that the search is in, below the source; empty: it begins at the start.
  std::string position() EXCLUDES(mutex_);
  void SetPosition(const std::string& directory) EXCLUDES(mutex_);

  // A file of this inode number, size and mtime was compressed and didn't become smaller.
  void AddUnshrinkable(uint64_t inode, uint64_t size_bytes, int64_t mtime_ns) EXCLUDES(mutex_);
  // Whether that was noted. Marks the file as seen by this search.
  bool IsUnshrinkable(uint64_t inode, uint64_t size_bytes, int64_t mtime_ns) EXCLUDES(mutex_);
  // A search through everything begins, or has come to its end. The end forgets the files that it
  // didn't see.
  void BeginSearch() EXCLUDES(mutex_);
  void EndSearch() EXCLUDES(mutex_);

  size_t size() EXCLUDES(mutex_);
  // Whether something changed since the last Serialize.
  bool changed() EXCLUDES(mutex_);

 private:
  struct File {
    uint64_t size_bytes = 0;
    int64_t mtime_ns = 0;
    bool seen = true;
  };

  void Add(uint64_t inode, const File& file) REQUIRES(mutex_);

  Mutex mutex_;
  std::string position_ GUARDED_BY(mutex_);
  std::unordered_map<uint64_t, File> files_ GUARDED_BY(mutex_);  // by inode number
  bool changed_ GUARDED_BY(mutex_) = false;
};

}  // namespace xzfs
