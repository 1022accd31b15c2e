// What an LZMA2 decoder knows between two symbols.
#pragma once

#include <cstddef>
#include <cstdint>

namespace xzfs {

// The sizes of LZMA's model. Facts of the format, see the LZMA specification and liblzma's
// lzma_common.h and lzma_decoder.c.
struct LzmaModel {
  static constexpr size_t kStates = 12;          // what kinds of symbols came last
  static constexpr size_t kFirstAfterMatch = 7;  // from here: the last symbol was no literal
  static constexpr size_t kPositions = 16;       // 1 << the largest pb
  static constexpr size_t kDistanceClasses = 4;  // matches of length 2, 3, 4, and longer ones
  static constexpr size_t kSlots = 64;           // of distances: each a range of them
  static constexpr size_t kFirstModelledSlot = 4;
  static constexpr size_t kFirstDirectSlot = 14;  // from here the middle bits have no model
  static constexpr size_t kSpecialBits = 115;     // the low bits of slots 4 to 13
  static constexpr unsigned kAlignBits = 4;       // the low bits of the others
  static constexpr size_t kShortestMatch = 2;
  static constexpr size_t kLongestMatch = 273;
  static constexpr size_t kLiteralTree = 0x300;  // three trees of 0x100 nodes
  static constexpr size_t kMostContextBits = 4;  // lc + lp in LZMA2
  static constexpr size_t kMostLiteralTrees = size_t{1} << kMostContextBits;
};

// The probability that a bit is 0, in units of 1 / 2048.
using Probability = uint16_t;
inline constexpr unsigned kProbabilityBits = 11;
inline constexpr Probability kEvenOdds = 1 << (kProbabilityBits - 1);

// All probabilities of one decoder. A tree of N bits has 1 << N entries, of which entry 0 is not
// used: the root is entry 1, and below entry I lie 2 * I for a bit that is 1, and 2 * I + 1 for a
// bit that is 0. (Others number the other way round. Like this the borrow of the comparison that
// finds the bit is what is added: see lzma2_bits_x86.h.)
struct LzmaProbabilities {
  struct Length {
    Probability choice;   // 0: low
    Probability choice2;  // 0: middle, 1: high
    Probability low[LzmaModel::kPositions][8];
    Probability middle[LzmaModel::kPositions][8];
    Probability high[256];
  };

  Probability is_match[LzmaModel::kStates][LzmaModel::kPositions];
  Probability is_rep[LzmaModel::kStates];
  Probability is_rep0[LzmaModel::kStates];
  Probability is_rep1[LzmaModel::kStates];
  Probability is_rep2[LzmaModel::kStates];
  Probability is_rep0_long[LzmaModel::kStates][LzmaModel::kPositions];
  Probability slot[LzmaModel::kDistanceClasses][LzmaModel::kSlots];
  Probability special[LzmaModel::kSpecialBits];
  Probability align[size_t{1} << LzmaModel::kAlignBits];
  Length match_length;
  Length rep_length;
  // Last, because few decoders use all of it: 1 << (lc + lp) trees.
  Probability literal[LzmaModel::kMostLiteralTrees][LzmaModel::kLiteralTree];
};

// The whole state of an Lzma2Decoder. Plain data without pointers, the same for every
// implementation of the decoder. What is not here is the input that comes next, and the output
// that a match may refer to.
struct Lzma2State {
  enum class Chunk : uint8_t { kNone, kPlain, kLzma };
  enum class Needs : uint8_t { kNothing, kProperties, kDictionaryReset };

  uint64_t position = 0;          // plain bytes since the last reset of the dictionary
  uint64_t dictionary_bytes = 0;  // a match must not refer farther back
  // The chunk in which it stands.
  Chunk chunk = Chunk::kNone;
  Needs needs = Needs::kDictionaryReset;  // before the next LZMA chunk
  uint32_t chunk_compressed_left = 0;     // bytes; of an LZMA chunk
  uint32_t chunk_plain_left = 0;          // bytes
  // The literal's context: that many high bits of the byte before, low bits of the position; and
  // low bits of the position for everything else.
  uint8_t lc = 0;
  uint8_t lp = 0;
  uint8_t pb = 0;
  uint8_t symbols = 0;         // LZMA's "state": what the last symbols were
  uint32_t distances[4] = {};  // the last four, less 1
  // The range coder's.
  uint32_t range = 0;
  uint32_t code = 0;
  LzmaProbabilities probabilities;  // set by the first LZMA chunk

  // What of this struct is in use, from its beginning.
  size_t used_bytes() const {
    return sizeof(Lzma2State) - (LzmaModel::kMostLiteralTrees - (size_t{1} << (lc + lp))) *
                                    sizeof(probabilities.literal[0]);
  }
};

// Whether a state that comes from outside of this process can be one: a decoder with it may say
// kDamage or give wrong bytes, but does nothing worse. Looks only at used_bytes().
bool IsValid(const Lzma2State& state);

}  // namespace xzfs
