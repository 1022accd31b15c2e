// The same as lzma2_bits.h for x86-64, without branches where they would often be predicted wrong.
//
// The denser the data, the less a bit of a tree can be predicted, and a branch that is predicted
// wrong costs more than two bits. Here both results are computed, and `cmov` takes one. Compilers
// can't be made to do that, so this step is in assembly. The normalisation is, too, because there
// they would take `cmov`, where a branch is better. All else is C++, with every access to memory
// except those to the next input byte and to the probability of the next bit.
//
// What a bit then costs is the chain from one bit to the next: shift, multiply, subtract, select.
// So the probabilities of both nodes that may come next are loaded before it is known which one it
// is.
#pragma once

#include <cstddef>
#include <cstdint>

#include "xz/lzma2_bits.h"
#include "xz/lzma2_state.h"

namespace xzfs {

struct X86Bits {
  [[gnu::always_inline]] static void Normalise(RangeDecoder& coder) {
    asm("cmp $0x1000000, %[range]\n\t"
        "jae 1f\n\t"
        "shl $8, %[range]\n\t"
        "shl $8, %[code]\n\t"
        "mov (%[input]), %b[code]\n\t"
        "inc %[input]\n"
        "1:"
        : [range] "+r"(coder.range), [code] "+r"(coder.code), [input] "+r"(coder.input)
        :
        : "cc");
  }

  [[gnu::always_inline]] static bool Bit(RangeDecoder& coder, Probability& zero) {
    Normalise(coder);
    return coder.Split(zero);
  }

  template <unsigned kBits>
  [[gnu::always_inline]] static uint32_t Tree(RangeDecoder& coder, Probability* tree) {
    size_t node = 1;
    uint32_t zero = tree[node];
#pragma GCC unroll 8
    for (unsigned i = 0; i < kBits; ++i) {
      // Below the last bit there is nothing: what comes next does not matter then.
      const size_t below = i + 1 < kBits ? 2 * node : 0;
      zero = Step(coder, tree[node], zero, node, tree[below], tree[below + 1]);
    }
    return static_cast<uint32_t>(node);
  }

  [[gnu::always_inline]] static uint32_t TreeOf(RangeDecoder& coder, Probability* tree,
                                                unsigned bits) {
    size_t node = 1;
    do {
      Probability& here = tree[node];
      Step(coder, here, here, node, here, here);
    } while (--bits != 0);
    return static_cast<uint32_t>(node);
  }

  [[gnu::always_inline]] static uint32_t MatchedLiteral(RangeDecoder& coder, Probability* trees,
                                                        uint32_t inverted) {
    size_t node = 1;
    size_t other = 0x100;
    size_t expected = (size_t{inverted} << 1) & other;
    size_t here = other + expected + node;
    uint32_t zero = trees[here];
#pragma GCC unroll 8
    for (unsigned i = 0; i < 8; ++i) {
      // If the bit is the expected one, the next node lies in one of the two other trees, and if
      // it isn't, in the first. `if_zero` is that tree for a bit that is 0, whose inverse is 1.
      const size_t next_expected = (size_t{inverted} << (i + 2)) & other;
      const size_t same = other + next_expected;
      const size_t if_zero = same & (0 - (expected >> 8));
      const size_t if_one = same ^ if_zero;
      const size_t below = i < 7 ? 2 * node : 0;
      zero =
          Step(coder, trees[here], zero, node, trees[if_one + below], trees[if_zero + below + 1]);
      other &= expected ^ ((node & 1) - 1);
      expected = next_expected & other;
      here = other + expected + node;
    }
    return static_cast<uint32_t>(node);
  }

 private:
  // One bit. `here` is the probability that it is 0, and `zero` its value. `node` becomes the node
  // below. Returns what of `if_one` and `if_zero` is the probability of the next bit.
  [[gnu::always_inline]] static uint32_t Step(RangeDecoder& coder, Probability& here, uint32_t zero,
                                              size_t& node, const Probability& if_one,
                                              const Probability& if_zero) {
    Normalise(coder);
    uint32_t next = if_one;
    const uint32_t bound = (coder.range >> kProbabilityBits) * zero;
    uint32_t rest = coder.code;
    asm("sub %[bound], %[range]\n\t"
        "sub %[bound], %[rest]\n\t"  // borrows if the bit is 0
        "cmovc %[bound], %[range]\n\t"
        "cmovnc %[rest], %[code]\n\t"
        "cmovc %[if_zero], %w[next]\n\t"
        // The probability goes up by (2048 - it) / 32 or down by it / 32. Subtracting 2048 - 31
        // makes the shift, which rounds down, the same as that division.
        "lea -2017(%q[zero]), %[rest]\n\t"
        "cmovnc %[zero], %[rest]\n\t"
        "adc %[node], %[node]\n\t"
        "sar $5, %[rest]\n\t"
        "sub %[rest], %[zero]"
        : [range] "+&r"(coder.range), [code] "+&r"(coder.code), [rest] "+&r"(rest),
          [zero] "+&r"(zero), [node] "+&r"(node), [next] "+&r"(next)
        : [bound] "r"(bound), [if_zero] "m"(if_zero)
        : "cc");
    here = static_cast<Probability>(zero);
    return next;
  }
};

}  // namespace xzfs
