// Where the probes read: the same places for a mount, a plain file and bare liblzma.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

namespace xzfs::bench {

struct OffsetPlan {
  uint64_t file_bytes = 0;
  uint64_t read_bytes = 4096;
  uint64_t count = 0;
  uint64_t seed = 1;
  // If not 0, no two offsets are in the same stretch of this many bytes. With the Block size, no
  // read finds data that another one had decoded. Then there are at most as many offsets as
  // stretches.
  uint64_t stretch_bytes = 0;
};

// Offsets in random order, aligned to the read's size.
inline std::vector<uint64_t> MakeOffsets(const OffsetPlan& plan) {
  std::mt19937_64 random(plan.seed);
  std::vector<uint64_t> offsets;
  const uint64_t slots = plan.file_bytes / plan.read_bytes;
  if (slots == 0) {
    return offsets;
  }
  if (plan.stretch_bytes < plan.read_bytes) {
    for (uint64_t i = 0; i < plan.count; ++i) {
      offsets.push_back(random() % slots * plan.read_bytes);
    }
    return offsets;
  }
  const uint64_t slots_in_stretch = plan.stretch_bytes / plan.read_bytes;
  for (uint64_t start = 0; start + plan.stretch_bytes <= plan.file_bytes;
       start += plan.stretch_bytes) {
    offsets.push_back(start + random() % slots_in_stretch * plan.read_bytes);
  }
  std::shuffle(offsets.begin(), offsets.end(), random);
  offsets.resize(std::min<uint64_t>(offsets.size(), plan.count));
  return offsets;
}

}  // namespace xzfs::bench
