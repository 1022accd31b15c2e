// What xzfs has learned by looking into stored files, so that it doesn't have to look twice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>

#include "base/identity.h"
#include "base/mutex.h"
#include "store/names.h"
#include "xzfs/block_index.h"

namespace xzfs {

// What one version of a file with a compressed suffix is.
struct KnownFile {
  // Nothing if its content is not what its suffix says: then the file is shown as it is.
  std::optional<Format> format;
  // If there is a format: the size of the logical file in bytes ...
  uint64_t plain_size = 0;
  // ... its LoadedIndex::id, less than 2^56 ...
  uint64_t file_id = 0;
  // ... and whether a read may take long, because it has giant Blocks.
  bool has_giant_blocks = false;

  bool operator==(const KnownFile&) const = default;
};

// Remembers KnownFiles by their full identity, 56 bytes each, in a table of fixed size. A version
// that is dropped to make room only has to be looked at again. Thread-safe.
class KnownFiles {
 public:
  // `bytes` bounds the table, which has at least one bucket. It touches memory only when that is
  // needed.
  explicit KnownFiles(size_t bytes);

  // What was added for this version. The suffix matters, as the content was judged by it.
  std::optional<KnownFile> Find(const Identity& identity, Suffix suffix) const EXCLUDES(mutex_);

  // Adds a version and drops an older one of the same inode. If several threads add the same
  // version at the same time, the first one wins. Returns what is kept.
  KnownFile Add(const Identity& identity, Suffix suffix, const KnownFile& known) EXCLUDES(mutex_);

  // The most bytes that the table may take.
  size_t memory_bytes() const { return bucket_count_ * kSlotsPerBucket * sizeof(Slot); }

 private:
  struct Slot {
    Identity identity;
    uint64_t plain_size;
    uint64_t packed;  // what else is known, and the kind of suffix; 0 if the slot is free
  };
  struct FreeDeleter {
    void operator()(Slot* slots) const { free(slots); }
  };
  static constexpr size_t kSlotsPerBucket = 8;

  std::span<Slot> BucketOf(const Identity& identity) const REQUIRES(mutex_);

  const size_t bucket_count_;  // a power of two
  mutable Mutex mutex_;
  const std::unique_ptr<Slot[], FreeDeleter> slots_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
