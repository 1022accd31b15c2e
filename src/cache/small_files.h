// Stored bytes of small files that were looked at, and that will probably be read next.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/identity.h"
#include "base/memory_budget.h"
#include "base/mutex.h"

namespace xzfs {

// Looking at a small stored file takes all of it in one read; the bytes are kept here, so that
// opening and reading it need no further call. First in, first out; charged to the budget.
// Thread-safe.
class SmallFiles {
 public:
  using Bytes = std::shared_ptr<const std::vector<std::byte>>;

  // Files up to this stored size are read as a whole. Reading this much costs about as much as
  // reading the first 4 KiB, for which a disk's readahead takes 16 KiB anyway.
  static constexpr uint64_t kLargestFileBytes = 16 << 10;

  // Keeps up to a sixteenth of the budget, at most kMostBytes.
  explicit SmallFiles(MemoryBudget& budget);

  // Enough for what one directory's listing shows before the files in it are read: 2,000 files of
  // 4 KiB.
  static constexpr size_t kMostBytes = size_t{8} << 20;

  // The whole stored file of this version, or null.
  Bytes Find(const Identity& identity) EXCLUDES(mutex_);

  // Keeps `bytes`, which are exactly that version's, and returns them.
  Bytes Add(const Identity& identity, std::vector<std::byte> bytes) EXCLUDES(mutex_);

  // Drops the bytes of a version that were used.
  void Drop(const Identity& identity) EXCLUDES(mutex_);

  // What is kept now, including what the tables take.
  size_t kept_bytes() const EXCLUDES(mutex_);
  size_t capacity_bytes() const;
  // Drops all that no reader uses just now.
  void DropAll() EXCLUDES(mutex_);

 private:
  struct Entry {
    Identity identity;
    Bytes bytes;
    MemoryCharge charge;
  };
  using EntryList = std::list<Entry>;

  void Remove(EntryList::iterator entry, EntryList& removed) REQUIRES(mutex_);

  MemoryBudget& budget_;
  mutable Mutex mutex_;
  size_t bytes_ GUARDED_BY(mutex_) = 0;
  EntryList entries_ GUARDED_BY(mutex_);  // oldest first
  std::unordered_map<Identity, EntryList::iterator, IdentityHash> by_identity_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
