// An LZMA encoder that encodes the symbols that it is told, whether they make sense or not.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace xzfs {

struct LzmaSymbol {
  enum Kind : uint8_t { kLiteral, kMatch, kShortRep, kRep0, kRep1, kRep2, kRep3 };
  static constexpr size_t kKinds = 7;
  static constexpr uint32_t kShortest = 2;  // of what has a length
  static constexpr uint32_t kLongest = 273;

  Kind kind = kLiteral;
  uint8_t byte = 0;              // of a literal
  uint32_t length = 1;           // in bytes; of literals and short reps 1
  uint32_t distance_less_1 = 0;  // of a match
};

struct LzmaProperties {
  unsigned lc = 3;
  unsigned lp = 0;
  unsigned pb = 2;
};

// The first of the two numbers that encode a distance. `distance_less_1` may be any number.
unsigned SlotOfDistance(uint32_t distance_less_1);

// Writes the number `code` of which the range decoder reads, in bytes.
class RangeEncoder {
 public:
  using Probability = uint16_t;

  void Start() { *this = RangeEncoder(); }
  // `zero` is the probability that the bit is 0; it learns.
  void Bit(Probability& zero, bool bit);
  // The low `count` bits of `value` without a model, the highest first.
  void Direct(uint32_t value, unsigned count);
  // How many bytes End would return.
  size_t size() const { return out_.size() + pending_ + (range_ < kLeastRange ? 5 : 4); }
  // All bytes since Start, such that a decoder that has read them has the code 0.
  std::vector<uint8_t> End();

 private:
  static constexpr uint32_t kLeastRange = uint32_t{1} << 24;

  void Normalise();
  void ShiftLow();

  std::vector<uint8_t> out_;
  uint64_t low_ = 0;
  uint32_t range_ = UINT32_MAX;
  uint8_t cache_ = 0;   // the byte before those pending
  size_t pending_ = 1;  // `cache_` and the bytes 0xFF behind it, to which a carry may come
};

// Its model and the last distances outlive a chunk. Can be copied, to go back to.
class LzmaEncoder {
 public:
  static constexpr size_t kStates = 12;
  static constexpr size_t kFirstAfterMatch = 7;  // of the states

  // What a symbol's probabilities depend on, besides the symbols before.
  struct Context {
    size_t position;   // bytes since the last reset of the dictionary
    uint8_t before;    // the byte before
    uint8_t expected;  // the byte that the last distance gives
  };

  LzmaEncoder() { Reset({}); }

  // A state reset. REQUIRES: lc + lp <= 4, pb <= 4.
  void Reset(const LzmaProperties& properties);
  void StartChunk() { coder_.Start(); }
  void Encode(const LzmaSymbol& symbol, const Context& context);
  // How many bytes EndChunk would return.
  size_t chunk_bytes() const { return coder_.size(); }
  std::vector<uint8_t> EndChunk() { return coder_.End(); }

  const LzmaProperties& properties() const { return properties_; }
  size_t state() const { return state_; }
  // The last four, less 1, the latest first.
  const std::array<uint32_t, 4>& distances() const { return distances_; }

 private:
  using Probability = RangeEncoder::Probability;
  static constexpr size_t kPositions = 16;
  static constexpr unsigned kFirstModelledSlot = 4;
  static constexpr unsigned kFirstDirectSlot = 14;

  struct Length {
    Probability choice[2];
    Probability low[kPositions][8];
    Probability middle[kPositions][8];
    Probability high[256];
  };
  struct Model {
    Probability is_match[kStates][kPositions];
    Probability is_rep[kStates];
    Probability is_rep_older[3][kStates];  // than the last, the second last, the third last
    Probability is_long[kStates][kPositions];
    Probability slots[4][64];
    Probability special[kFirstDirectSlot][32];
    Probability align[16];
    Length match_length;
    Length rep_length;
    Probability literals[16][0x300];
  };

  void EncodeLiteral(uint8_t byte, const Context& context);
  void EncodeRep(const LzmaSymbol& symbol, size_t position);
  void EncodeLength(Length& model, uint32_t length, size_t position);
  void EncodeDistance(uint32_t distance_less_1, uint32_t length);
  void Tree(Probability* tree, unsigned bits, uint32_t value);
  void ReversedTree(Probability* tree, unsigned bits, uint32_t value);

  RangeEncoder coder_;
  Model model_;
  LzmaProperties properties_;
  size_t state_ = 0;
  std::array<uint32_t, 4> distances_ = {};
};

}  // namespace xzfs
