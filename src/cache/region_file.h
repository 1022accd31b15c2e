// A temporary file in regions, for bytes that don't fit into memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>

#include "base/mutex.h"
#include "base/unique_fd.h"

namespace xzfs {

// Hands out regions of a temporary file. The file grows as it's needed, up to a limit; room that
// was freed is used again, and when nothing is used the file is empty. Thread-safe.
class RegionFile {
 public:
  struct Region {
    uint64_t offset = 0;
    uint64_t bytes = 0;
  };

  // Makes a file in `folder` that only we have: it has no name, and ends with its descriptor. Not
  // valid, with errno set, if that fails.
  static UniqueFd OpenIn(const std::string& folder);

  // `file` may be invalid and `limit_bytes` 0: then there is no room.
  RegionFile(UniqueFd file, uint64_t limit_bytes);

  // Keeps a copy of the bytes of `first`, then those of `second`. Nullopt if there is no room; a
  // failure to write, of whatever kind, is no room either, until something is freed. Blocks: on
  // I/O.
  std::optional<Region> Write(std::span<const std::byte> first,
                              std::span<const std::byte> second = {}) EXCLUDES(mutex_);
  // Reads what was written to `region`, all of it. Returns false if that fails. Blocks: on I/O.
  bool Read(const Region& region, std::span<std::byte> out) const;
  void Free(const Region& region) EXCLUDES(mutex_);

  uint64_t limit_bytes() const { return limit_bytes_; }

 private:
  std::optional<Region> Allocate(uint64_t bytes) EXCLUDES(mutex_);
  void Release(const Region& region) REQUIRES(mutex_);

  const UniqueFd file_;
  const uint64_t limit_bytes_;
  Mutex mutex_;
  std::map<uint64_t, uint64_t> free_
      GUARDED_BY(mutex_);                    // offset to size; none touch, none at end_
  uint64_t end_ GUARDED_BY(mutex_) = 0;      // nothing is used from here on
  bool refused_ GUARDED_BY(mutex_) = false;  // a write failed since the last Free
};

}  // namespace xzfs
