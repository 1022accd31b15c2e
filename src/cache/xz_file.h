// One version of one compressed file, as far as all its readers share it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/memory_budget.h"
#include "base/mutex.h"
#include "base/stats.h"
#include "xzfs/block_index.h"

namespace xzfs {

// The Index of a compressed file, its number in the cache and what is known to be damaged. It holds
// no descriptor: readers bring the stored file. Thread-safe; immutable but for the damage.
class XzFile {
 public:
  // `id` is never used for another file. `name` is for the log. `stats` outlives the file.
  XzFile(uint64_t id, std::string name, BlockIndex index, MemoryCharge charge, Stats& stats)
      : id_(id),
        name_(std::move(name)),
        index_(std::move(index)),
        charge_(std::move(charge)),
        stats_(stats) {}

  uint64_t id() const { return id_; }
  const std::string& name() const { return name_; }
  const BlockIndex& index() const { return index_; }

  // If decoding failed here before, the error for a read of the bytes of `block` that end at
  // `end` within it: damage is found once, not decoded again for each reader.
  std::optional<Error> DamageAt(const BlockInfo& block, uint64_t end) const EXCLUDES(mutex_);

  // Notes that `block` can't be decoded from `from` (within the Block) on, logs and counts it once.
  // Returns the error for the reader. Errors other than EIO and EFBIG are of the moment: they pass
  // through and are not remembered.
  Error NoteDamage(const BlockInfo& block, uint64_t from, Error error) const EXCLUDES(mutex_);

 private:
  struct Damage {
    uint64_t from;
    Error error;
  };

  const uint64_t id_;
  const std::string name_;
  const BlockIndex index_;
  const MemoryCharge charge_;
  Stats& stats_;
  mutable Mutex mutex_;
  mutable std::unordered_map<uint64_t, Damage> damage_ GUARDED_BY(mutex_);  // by Block number
};

}  // namespace xzfs
