// Copies of what was decoded before: LZMA's matches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace xzfs {

// How many bytes behind its end CopyMatchWide may write. It copies in pieces, which costs less than
// to find out how many bytes the last one needs.
inline constexpr size_t kCopyOverrun = 31;

// Copies `length` bytes from `distance` bytes before `out` to `out`, one after the other: what it
// has written may be what it reads. REQUIRES: 0 < distance; `length` > 0.
inline void CopyMatch(uint8_t* out, size_t distance, size_t length) {
  const uint8_t* from = out - distance;
  if (distance >= length) {
    std::memcpy(out, from, length);
    return;
  }
  for (size_t i = 0; i < length; ++i) {
    out[i] = from[i];
  }
}

// The same, except that it may write anything to the kCopyOverrun bytes behind.
[[gnu::always_inline]] inline void CopyMatchWide(uint8_t* out, size_t distance, size_t length) {
  constexpr size_t kPiece = 16;
  uint8_t* const end = out + length;
  const uint8_t* from = out - distance;
  if (distance < kPiece) [[unlikely]] {
    // After the first piece, what lies a multiple of the distance before is the same, and far
    // enough away.
    for (size_t i = 0; i < kPiece; ++i) {
      out[i] = from[i];
    }
    out += kPiece;
    from = out - distance * ((kPiece + distance - 1) / distance);
    if (out >= end) {
      return;
    }
  }
  do {
    // Two pieces at once: a third of the matches in source code is longer than one, a tenth than
    // two.
    std::memcpy(out, from, kPiece);
    std::memcpy(out + kPiece, from + kPiece, kPiece);
    out += 2 * kPiece;
    from += 2 * kPiece;
  } while (out < end);
}

}  // namespace xzfs
