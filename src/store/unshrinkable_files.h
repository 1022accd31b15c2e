// Which plain files were tried, and would not shrink.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/identity.h"
#include "base/mutex.h"

namespace xzfs {

// Remembers files that stay plain because their compressed form saves too little, so that they are
// not tried at each commit. A file is tried again when a tenth of it has changed. Hints: without
// them files are tried again. Thread-safe.
class UnshrinkableFiles {
 public:
  // About 6 MiB of memory. If there are more files, some are tried again.
  static constexpr size_t kMostFiles = 65536;
  struct Share {
    uint64_t files = 0;
    uint64_t bytes = 0;  // their sizes
  };

  void Add(const Identity& file) EXCLUDES(mutex_);
  // Whether the file was noted with this size and mtime. Marks it as seen by the search.
  bool Has(const Identity& file) EXCLUDES(mutex_);
  // Whether some version of the file was noted.
  bool Knows(const FileId& file) EXCLUDES(mutex_);
  // So many bytes were written to the file, which is now `file`. If by now a tenth of it has
  // changed since it was noted, or its size by a tenth, the note is dropped. Else it holds for the
  // file as it is now.
  void NoteWritten(const Identity& file, uint64_t bytes) EXCLUDES(mutex_);
  // The file was removed, or compressed after all.
  void Forget(const FileId& file) EXCLUDES(mutex_);
  void Clear() EXCLUDES(mutex_);
  // A search through everything begins, or has come to its end. The end forgets the files that it
  // didn't see.
  void BeginSearch() EXCLUDES(mutex_);
  void EndSearch() EXCLUDES(mutex_);

  Share share() EXCLUDES(mutex_);
  std::vector<Identity> All() EXCLUDES(mutex_);
  // Rises with each change of the notes.
  uint64_t version() EXCLUDES(mutex_);

 private:
  struct File {
    uint64_t tried_bytes = 0;    // its size when it was tried
    uint64_t written_bytes = 0;  // to it since then
    uint64_t size_bytes = 0;
    int64_t mtime_ns = 0;
    bool seen = true;
  };
  using Files = std::unordered_map<FileId, File, FileIdHash>;

  void Erase(Files::iterator file) REQUIRES(mutex_);

  Mutex mutex_;
  Files files_ GUARDED_BY(mutex_);
  uint64_t bytes_ GUARDED_BY(mutex_) = 0;  // the sum of their sizes
  uint64_t version_ GUARDED_BY(mutex_) = 0;
};

}  // namespace xzfs
