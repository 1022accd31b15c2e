// How an LZMA2 decoder gets bits out of its input, in plain C++.
#pragma once

#include <cstddef>
#include <cstdint>

#include "xz/lzma2_state.h"

namespace xzfs {

// The range decoder: a number `code` in a range [0, range). A bit with a probability divides the
// range in two; the part in which `code` lies is the bit's value, and the new range.
struct RangeDecoder {
  static constexpr uint32_t kLeastRange = uint32_t{1} << 24;
  // A probability moves by 1/32 of its distance to certainty.
  static constexpr unsigned kMoveBits = 5;

  uint32_t range;
  uint32_t code;         // < range, unless the data is made to break that
  const uint8_t* input;  // the next byte

  // Makes the range large enough for one more bit. Reads at most one byte.
  [[gnu::always_inline]] void Normalise() {
    if (range < kLeastRange) {
      range <<= 8;
      code = (code << 8) | *input++;
    }
  }

  // One bit that is 0 with that probability, which learns from it. As a branch: good where it's
  // mostly predicted right. REQUIRES: Normalise was called since the last bit.
  [[gnu::always_inline]] bool Split(Probability& zero) {
    const uint32_t old = zero;
    const uint32_t bound = (range >> kProbabilityBits) * old;
    if (code < bound) {
      range = bound;
      zero = static_cast<Probability>(old + (((1U << kProbabilityBits) - old) >> kMoveBits));
      return false;
    }
    range -= bound;
    code -= bound;
    zero = static_cast<Probability>(old - (old >> kMoveBits));
    return true;
  }

  // One bit without a model. REQUIRES: as Split.
  [[gnu::always_inline]] uint32_t DirectBit() {
    range >>= 1;
    code -= range;
    // Its sign, not a comparison: so does liblzma, and where `code` isn't less than `range` that
    // differs.
    const uint32_t below = 0 - (code >> 31);  // all ones: the bit is 0
    code += range & below;
    return below + 1;
  }
};

// The bits that have a probability. Lzma2Symbols takes this or what has the same functions.
struct PortableBits {
  [[gnu::always_inline]] static void Normalise(RangeDecoder& coder) { coder.Normalise(); }

  // For decisions that are branches.
  [[gnu::always_inline]] static bool Bit(RangeDecoder& coder, Probability& zero) {
    coder.Normalise();
    return coder.Split(zero);
  }

  // Goes down a tree of kBits bits and returns the number that the entry below its last would have:
  // from 1 << kBits on, the bits inverted.
  template <unsigned kBits>
  [[gnu::always_inline]] static uint32_t Tree(RangeDecoder& coder, Probability* tree) {
    uint32_t node = 1;
    for (unsigned i = 0; i < kBits; ++i) {
      node = 2 * node + static_cast<uint32_t>(!Bit(coder, tree[node]));
    }
    return node;
  }

  // The same for a number of bits that isn't constant: at least 1.
  [[gnu::always_inline]] static uint32_t TreeOf(RangeDecoder& coder, Probability* tree,
                                                unsigned bits) {
    uint32_t node = 1;
    do {
      node = 2 * node + static_cast<uint32_t>(!Bit(coder, tree[node]));
    } while (--bits != 0);
    return node;
  }

  // A literal behind a match. `inverted` is the inverted byte that the match would have given
  // here: as long as the bits are its bits, the node is looked up in one of two other trees, by
  // what the next bit of it is. Returns what Tree<8> returns.
  [[gnu::always_inline]] static uint32_t MatchedLiteral(RangeDecoder& coder, Probability* trees,
                                                        uint32_t inverted) {
    uint32_t node = 1;
    uint32_t other = 0x100;  // 0 after the first bit that differs
    while (node < 0x100) {
      inverted <<= 1;
      const uint32_t expected = inverted & other;
      const bool bit = Bit(coder, trees[other + expected + node]);
      node = 2 * node + static_cast<uint32_t>(!bit);
      other &= bit ? ~expected : expected;
    }
    return node;
  }
};

}  // namespace xzfs
