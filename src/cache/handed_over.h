// Which units were handed over whole to the kernel's page cache.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "cache/unit.h"

namespace xzfs {

// Such a unit isn't decoded ahead, as its reader will not ask for it. A table of fixed size (256
// KiB, some 60,000 units): if two units share a place, it remembers the later one. The kernel
// doesn't tell what it drops. When it asks for one of these units, all that is noted of that file
// is forgotten. Not thread-safe.
class HandedOver {
 public:
  HandedOver() : tags_(kPlaces) {}

  void Add(const UnitKey& key) { tags_[PlaceOf(key)] = TagOf(key); }
  bool Has(const UnitKey& key) const { return tags_[PlaceOf(key)] == TagOf(key); }
  // Files with the same low bits in their number lose theirs too.
  void ForgetFile(uint64_t file_id) { ++epochs_[file_id % kEpochs]; }

  static constexpr size_t kBytes = (size_t{64} << 10) * sizeof(uint32_t);

 private:
  static constexpr size_t kPlaces = kBytes / sizeof(uint32_t);
  static constexpr size_t kEpochs = 1024;

  static size_t PlaceOf(const UnitKey& key) { return UnitKeyHash()(key) % kPlaces; }
  // Never 0, which is an empty place.
  uint32_t TagOf(const UnitKey& key) const {
    const uint64_t mixed =
        (UnitKeyHash()(key) ^ epochs_[key.file_id % kEpochs]) * 0x9E3779B97F4A7C15U;
    return static_cast<uint32_t>(mixed >> 32) | 1U;
  }

  std::vector<uint32_t> tags_;
  std::array<uint32_t, kEpochs> epochs_ = {};
};

}  // namespace xzfs
