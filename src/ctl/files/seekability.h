// How quickly a compressed file can be read at any offset.
#pragma once

#include <cstdint>

namespace xzfs {

// Decoding this much takes about 50 ms: a read at any offset feels immediate.
inline constexpr uint64_t kGoodBlockBytes = uint64_t{4} << 20;
// A mount decodes such Blocks as a whole by default; larger ones are streamed.
inline constexpr uint64_t kFairBlockBytes = uint64_t{32} << 20;

// "good", "fair" or "poor": a read at any offset decodes a Block, at worst the largest.
inline const char* Seekability(uint64_t largest_block) {
  if (largest_block <= kGoodBlockBytes) {
    return "good";
  }
  return largest_block <= kFairBlockBytes ? "fair" : "poor";
}

}  // namespace xzfs
