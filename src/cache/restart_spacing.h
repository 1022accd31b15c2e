// How far apart the restart points of a giant Block are.
#pragma once

#include <algorithm>
#include <cstdint>

namespace xzfs {

// The unit of the cache inside a giant Block. 1 MiB: about 10 ms of decoding, so a reader that
// joins one waits little, and eight of the kernel's requests are served by one.
inline constexpr uint64_t kSliceBytes = uint64_t{1} << 20;

// In slices.
struct RestartSpacing {
  static constexpr uint64_t kNone = UINT64_MAX;
  // However small the dictionary is.
  static constexpr uint64_t kLeast = 4;
  // For readers that read in order: 64 MiB, and at least eight dictionaries. A copy of 8 MiB takes
  // about 3 ms, decoding 64 MiB about 600 ms.
  static constexpr uint64_t kLeastOrdered = 64;
  static constexpr uint64_t kOrderedDictionaries = 8;

  uint64_t dense = 0;    // for runs that pass over slices; 0: not known yet; kNone: no points
  uint64_t ordered = 0;  // for readers that read in order, if it's more than `dense`

  // One dictionary apart, unless that many points don't fit into `capacity_bytes`.
  static RestartSpacing For(uint64_t block_bytes, uint64_t dictionary_bytes,
                            uint64_t capacity_bytes) {
    if (dictionary_bytes == 0 || dictionary_bytes > capacity_bytes) {
      return {kNone, kNone};
    }
    const auto in_slices = [](uint64_t bytes) { return (bytes + kSliceBytes / 2) / kSliceBytes; };
    const uint64_t points = capacity_bytes / dictionary_bytes;
    return {std::max({kLeast, in_slices(dictionary_bytes), in_slices(block_bytes / points)}),
            std::max(kLeastOrdered, kOrderedDictionaries * in_slices(dictionary_bytes))};
  }

  uint64_t Of(bool in_order) const { return in_order ? std::max(dense, ordered) : dense; }
  void Double() { dense = std::min(dense, kNone / 2) * 2; }
};

}  // namespace xzfs
