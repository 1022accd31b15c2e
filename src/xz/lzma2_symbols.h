// The loop that decodes LZMA's symbols: the inner part of lzma2_decoder.cc.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "xz/lzma2_bits.h"
#include "xz/lzma2_copy.h"
#include "xz/lzma2_state.h"

namespace xzfs {

// A stretch of one chunk: where its symbols come from and go to.
struct Lzma2Stretch {
  const uint8_t* input;
  const uint8_t* input_end;  // of the chunk; kInputSlack bytes behind it are readable
  uint8_t* out;
  uint8_t* stop;             // no symbol begins here or behind it
  uint8_t* wide_end;         // kCopyOverrun bytes behind it may be written; may be before `out`
  uint8_t* out_end;          // no symbol ends behind it
  const uint8_t* history;    // bytes from here to `out` may be read
  const uint8_t* older_end;  // what comes before `history` ends here
  size_t older_bytes;        // of it
};

// Which probabilities a position and a literal have, for the parameters that nearly every encoder
// uses. The compiler then makes constants of them.
struct UsualContext {
  explicit UsualContext(const Lzma2State&) {}
  static bool Fits(const Lzma2State& state) {
    return state.lc == 3 && state.lp == 0 && state.pb == 2;
  }
  size_t Position(size_t position) const { return position & 3; }
  size_t Literal(size_t /*position*/, uint32_t before) const { return before >> 5; }
};

// The same for any parameters.
class AnyContext {
 public:
  explicit AnyContext(const Lzma2State& state)
      : lc_(state.lc),
        position_mask_((size_t{1} << state.pb) - 1),
        literal_mask_((size_t{1} << state.lp) - 1) {}
  size_t Position(size_t position) const { return position & position_mask_; }
  size_t Literal(size_t position, uint32_t before) const {
    return ((position & literal_mask_) << lc_) + (before >> (8 - lc_));
  }

 private:
  const unsigned lc_;
  const size_t position_mask_;
  const size_t literal_mask_;
};

// Decodes the symbols of a stretch. What changes with every symbol is in members of an object that
// never leaves the function that made it, so that the compiler keeps it in registers.
template <class Bits, class Context>
class Lzma2Symbols {
 public:
  // Decodes until a symbol ends at `stop` or behind it. Returns false if the data is damaged.
  // Otherwise `state` and `stretch` say where it stopped.
  [[gnu::noinline]] static bool Decode(Lzma2State& state, Lzma2Stretch& stretch) {
    Lzma2Symbols symbols(state, stretch);
    if (!symbols.Loop() || symbols.coder_.input > stretch.input_end) {
      return false;
    }
    symbols.Save(state, stretch);
    return true;
  }

 private:
  using Model = LzmaModel;

  // The distances of the last matches, less 1; the newest first.
  struct Distances {
    uint32_t d0;
    uint32_t d1;
    uint32_t d2;
    uint32_t d3;
  };

  [[gnu::always_inline]] Lzma2Symbols(Lzma2State& state, const Lzma2Stretch& stretch)
      : model_(state.probabilities),
        context_(state),
        bounds_(stretch),
        dictionary_bytes_(state.dictionary_bytes),
        position_at_null_(state.position - reinterpret_cast<uintptr_t>(stretch.out)),
        coder_{state.range, state.code, stretch.input},
        out_(stretch.out),
        before_(ByteBefore(stretch)),
        symbols_(state.symbols),
        last_{state.distances[0], state.distances[1], state.distances[2], state.distances[3]} {}

  static uint8_t ByteBefore(const Lzma2Stretch& stretch) {
    if (stretch.history != stretch.out) {
      return stretch.out[-1];
    }
    return stretch.older_bytes != 0 ? stretch.older_end[-1] : 0;
  }

  [[gnu::always_inline]] void Save(Lzma2State& state, Lzma2Stretch& stretch) const {
    state.position += static_cast<size_t>(out_ - stretch.out);
    state.range = coder_.range;
    state.code = coder_.code;
    state.symbols = static_cast<uint8_t>(symbols_);
    state.distances[0] = last_.d0;
    state.distances[1] = last_.d1;
    state.distances[2] = last_.d2;
    state.distances[3] = last_.d3;
    stretch.input = coder_.input;
    stretch.out = out_;
  }

  // Whether the last symbol was a literal is known by the place in the loop.
  [[gnu::always_inline]] bool Loop() {
    if (symbols_ >= Model::kFirstAfterMatch) {
      goto after_match;
    }
  after_literal:
    if (Ended()) {
      return true;
    }
    if (!IsMatch()) {
      Literal();
      symbols_ = symbols_ < 4 ? 0 : symbols_ - 3;
      goto after_literal;
    }
  match:
    if (!Match()) {
      return false;
    }
  after_match:
    if (Ended()) {
      return true;
    }
    if (IsMatch()) {
      goto match;
    }
    LiteralAfterMatch();
    symbols_ -= symbols_ < 10 ? 3 : 6;
    goto after_literal;
  }

  // G2
  [[gnu::always_inline]] bool Ended() const {
    return coder_.input > bounds_.input_end || out_ >= bounds_.stop;
  }

  [[gnu::always_inline]] size_t Position() const {
    return position_at_null_ + reinterpret_cast<uintptr_t>(out_);
  }

  [[gnu::always_inline]] bool IsMatch() {
    return Bits::Bit(coder_, model_.is_match[symbols_][context_.Position(Position())]);
  }

  [[gnu::always_inline]] void Literal() {
    Probability* const trees = model_.literal[context_.Literal(Position(), before_)];
    PutLiteral(Bits::template Tree<8>(coder_, trees));
  }

  // The byte isn't the one that the last distance would give: a match would have been longer.
  [[gnu::always_inline]] void LiteralAfterMatch() {
    Probability* const trees = model_.literal[context_.Literal(Position(), before_)];
    const size_t here = static_cast<size_t>(out_ - bounds_.history);
    const uint32_t expected =
        last_.d0 < here ? *(out_ - last_.d0 - 1) : *(bounds_.older_end - (last_.d0 + 1 - here));
    PutLiteral(Bits::MatchedLiteral(coder_, trees, ~expected & 0xff));
  }

  [[gnu::always_inline]] void PutLiteral(uint32_t node) {
    before_ = ~node & 0xff;
    *out_++ = static_cast<uint8_t>(before_);
  }

  [[gnu::always_inline]] bool Match() {
    const size_t position = context_.Position(Position());
    // Numbers instead of conditions, because a compiler makes branches of those, and they are often
    // predicted wrong: behind a literal the state becomes 7 to 9, otherwise 10 or 11.
    const size_t after_match = symbols_ >= Model::kFirstAfterMatch ? 1 : 0;
    size_t length = 1;
    if (!Bits::Bit(coder_, model_.is_rep[symbols_])) {
      length = Length(model_.match_length, position);
      last_.d3 = last_.d2;
      last_.d2 = last_.d1;
      last_.d1 = last_.d0;
      last_.d0 = Distance(length);
      symbols_ = 7 + 3 * after_match;
    } else if (IsOneByteOfTheLastDistance(position)) {
      symbols_ = 9 + 2 * after_match;
    } else {
      length = Length(model_.rep_length, position);
      symbols_ = 8 + 3 * after_match;
    }
    return Copy(length);
  }

  // Otherwise the distance of this match has become the last one.
  [[gnu::always_inline]] bool IsOneByteOfTheLastDistance(size_t position) {
    if (!Bits::Bit(coder_, model_.is_rep0[symbols_])) {
      return !Bits::Bit(coder_, model_.is_rep0_long[symbols_][position]);
    }
    TakeOlderDistance();
    return false;
  }

  // Makes one of the three older distances the last one.
  [[gnu::always_inline]] void TakeOlderDistance() {
    uint32_t distance = last_.d1;
    if (Bits::Bit(coder_, model_.is_rep1[symbols_])) {
      distance = last_.d2;
      if (Bits::Bit(coder_, model_.is_rep2[symbols_])) {
        distance = last_.d3;
        last_.d3 = last_.d2;
      }
      last_.d2 = last_.d1;
    }
    last_.d1 = last_.d0;
    last_.d0 = distance;
  }

  [[gnu::always_inline]] size_t Length(LzmaProbabilities::Length& length, size_t position) {
    if (!Bits::Bit(coder_, length.choice)) {
      return Model::kShortestMatch + 15 - Bits::template Tree<3>(coder_, length.low[position]);
    }
    if (!Bits::Bit(coder_, length.choice2)) {
      return Model::kShortestMatch + 8 + 15 -
             Bits::template Tree<3>(coder_, length.middle[position]);
    }
    return Model::kShortestMatch + 16 + 511 - Bits::template Tree<8>(coder_, length.high);
  }

  // Less 1.
  [[gnu::always_inline]] uint32_t Distance(size_t length) {
    const size_t distance_class =
        std::min(length - Model::kShortestMatch, Model::kDistanceClasses - 1);
    const uint32_t slot = 127 - Bits::template Tree<6>(coder_, model_.slot[distance_class]);
    if (slot < Model::kFirstModelledSlot) {
      return slot;
    }
    // The slot gives the two highest bits; the low ones come with the lowest first.
    const unsigned bits = (slot >> 1) - 1;
    const uint32_t base = (2 | (slot & 1)) << bits;
    if (slot < Model::kFirstDirectSlot) {
      return base + Reversed(Bits::TreeOf(coder_, model_.special + (base - slot), bits), bits);
    }
    uint32_t direct = 0;
    for (unsigned i = bits - Model::kAlignBits; i != 0; --i) {
      Bits::Normalise(coder_);
      direct = 2 * direct + coder_.DirectBit();
    }
    const uint32_t low = Bits::template Tree<Model::kAlignBits>(coder_, model_.align);
    return base + (direct << Model::kAlignBits) + Reversed(low, Model::kAlignBits);
  }

  // The number whose bits a tree gave lowest first.
  [[gnu::always_inline]] static uint32_t Reversed(uint32_t node, unsigned bits) {
    static constexpr std::array<uint8_t, 32> kOfFiveBits = {
        0, 16, 8, 24, 4, 20, 12, 28, 2, 18, 10, 26, 6, 22, 14, 30,
        1, 17, 9, 25, 5, 21, 13, 29, 3, 19, 11, 27, 7, 23, 15, 31};
    return kOfFiveBits[(~node << (5 - bits)) & 31];
  }

  // G3, G4. The only place that reads what was decoded by a number from the data, except that
  // LiteralAfterMatch uses the distance that was checked here.
  [[gnu::always_inline]] bool Copy(size_t length) {
    const size_t here = static_cast<size_t>(out_ - bounds_.history);
    if (last_.d0 >= here || last_.d0 >= dictionary_bytes_) [[unlikely]] {
      if (!CopyOlder(here, length)) {
        return false;
      }
    } else if (static_cast<ptrdiff_t>(length) <= bounds_.wide_end - out_) {
      CopyMatchWide(out_, size_t{last_.d0} + 1, length);
    } else if (static_cast<ptrdiff_t>(length) <= bounds_.out_end - out_) {
      CopyMatch(out_, size_t{last_.d0} + 1, length);
    } else {
      return false;
    }
    out_ += length;
    before_ = out_[-1];
    return true;
  }

  // G3, G4. A match that begins in what is older than the `here` bytes since `history`.
  [[gnu::always_inline]] bool CopyOlder(size_t here, size_t length) const {
    if (last_.d0 >= dictionary_bytes_ || last_.d0 - here >= bounds_.older_bytes ||
        static_cast<ptrdiff_t>(length) > bounds_.out_end - out_) {
      return false;
    }
    const size_t before_history = last_.d0 - here + 1;
    const size_t older = std::min(length, before_history);
    std::memcpy(out_, bounds_.older_end - before_history, older);
    if (older < length) {
      CopyMatch(out_ + older, size_t{last_.d0} + 1, length - older);
    }
    return true;
  }

  LzmaProbabilities& model_;
  const Context context_;
  const Lzma2Stretch bounds_;
  const size_t dictionary_bytes_;
  const size_t position_at_null_;  // of a byte at address 0, so to say; wraps around

  RangeDecoder coder_;
  uint8_t* out_;
  uint32_t before_;  // the byte before out_
  size_t symbols_;
  Distances last_;
};

}  // namespace xzfs
