// What LZMA2 data can have in it: faults, and counts of everything else.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>

#include "support/lzma_encoder.h"

namespace xzfs {

enum class Lzma2Fault : uint8_t {
  kNone,
  // In a symbol.
  kDistance,      // a match refers to what isn't there, or isn't in the dictionary any more
  kRepOfNothing,  // a repetition is the first symbol after a reset of the dictionary
  kLength,        // a match is longer than what is left of its chunk
  kEndMarker,     // the one that .lzma files have
  // In a chunk.
  kFirstByte,       // of the range coder, which must be 0
  kCode,            // the range coder begins with a code that isn't below its range
  kPlainSize,       // the header says more or less bytes
  kCompressedSize,  // the header says more or less bytes
  kTooShort,        // a compressed size that the range coder's first bytes don't fit in
  kFlippedBit,      // somewhere in the chunk's data
  // Of a chunk.
  kControl,       // a control byte that has no meaning
  kMissingReset,  // a chunk that needs one comes without
  kProperties,    // numbers that LZMA2 doesn't allow
  // At the end.
  kGarbage,    // there is more behind the end marker
  kTruncated,  // the end isn't there
};
inline constexpr size_t kLzma2Faults = static_cast<size_t>(Lzma2Fault::kTruncated) + 1;

// What was made: how often each.
struct Lzma2Coverage {
  enum Chunk { kPlainReset, kPlain, kLzma, kLzmaState, kLzmaProperties, kLzmaAll };
  static constexpr size_t kChunks = 6;

  using LengthCounts = std::array<uint64_t, LzmaSymbol::kLongest + 1>;

  // Of symbols that are no fault.
  std::array<std::array<uint64_t, LzmaSymbol::kKinds>, LzmaEncoder::kStates> symbols = {};
  LengthCounts match_lengths = {};
  LengthCounts rep_lengths = {};
  std::array<uint64_t, 64> slots = {};
  uint64_t distances_to_the_reset = 0;  // exactly
  uint64_t distances_of_the_dictionary = 0;

  std::array<uint64_t, 64> faulty_slots = {};
  std::array<uint64_t, kChunks> chunks = {};
  std::map<std::array<unsigned, 3>, uint64_t> properties;  // lc, lp, pb
  uint64_t resets_inside = 0;                              // of the dictionary
  uint64_t chunks_of_one_byte = 0;
  uint64_t full_plain_chunks = 0;  // 64 KiB
  uint64_t full_lzma_chunks = 0;   // 2 MiB of plain bytes
  uint64_t full_compressed = 0;    // 64 KiB of compressed ones
};

}  // namespace xzfs
