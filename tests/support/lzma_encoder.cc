#include "support/lzma_encoder.h"

#include <algorithm>
#include <bit>
#include <cassert>

namespace xzfs {

unsigned SlotOfDistance(uint32_t distance_less_1) {
  if (distance_less_1 < 4) {
    return distance_less_1;
  }
  const unsigned high_bit = static_cast<unsigned>(std::bit_width(distance_less_1)) - 1;
  return 2 * high_bit + (distance_less_1 >> (high_bit - 1) & 1);
}

void RangeEncoder::Normalise() {
  if (range_ < kLeastRange) {
    range_ <<= 8;
    ShiftLow();
  }
}

// The highest byte of `low_` leaves it, unless a carry could still change it.
void RangeEncoder::ShiftLow() {
  if (low_ < 0xFF000000 || low_ > UINT32_MAX) {
    const auto carry = static_cast<uint8_t>(low_ >> 32);
    out_.push_back(static_cast<uint8_t>(cache_ + carry));
    out_.insert(out_.end(), pending_ - 1, static_cast<uint8_t>(0xFF + carry));
    pending_ = 0;
    cache_ = static_cast<uint8_t>(low_ >> 24);
  }
  ++pending_;
  low_ = (low_ & 0x00FFFFFF) << 8;
}

void RangeEncoder::Bit(Probability& zero, bool bit) {
  Normalise();
  const uint32_t bound = (range_ >> 11) * zero;
  if (bit) {
    low_ += bound;
    range_ -= bound;
    zero = static_cast<Probability>(zero - (zero >> 5));
  } else {
    range_ = bound;
    zero = static_cast<Probability>(zero + ((2048 - zero) >> 5));
  }
}

void RangeEncoder::Direct(uint32_t value, unsigned count) {
  while (count-- != 0) {
    Normalise();
    range_ >>= 1;
    if ((value >> count & 1) != 0) {
      low_ += range_;
    }
  }
}

std::vector<uint8_t> RangeEncoder::End() {
  Normalise();
  for (int i = 0; i < 5; ++i) {
    ShiftLow();
  }
  return std::move(out_);
}

void LzmaEncoder::Reset(const LzmaProperties& properties) {
  assert(properties.lc + properties.lp <= 4 && properties.pb <= 4);
  properties_ = properties;
  auto* const probabilities = reinterpret_cast<Probability*>(&model_);
  std::fill_n(probabilities, sizeof(Model) / sizeof(Probability), Probability{1024});
  state_ = 0;
  distances_ = {};
}

void LzmaEncoder::Encode(const LzmaSymbol& symbol, const Context& context) {
  const size_t position = context.position & ((size_t{1} << properties_.pb) - 1);
  const bool after_literal = state_ < kFirstAfterMatch;
  coder_.Bit(model_.is_match[state_][position], symbol.kind != LzmaSymbol::kLiteral);
  if (symbol.kind == LzmaSymbol::kLiteral) {
    EncodeLiteral(symbol.byte, context);
    return;
  }
  coder_.Bit(model_.is_rep[state_], symbol.kind != LzmaSymbol::kMatch);
  if (symbol.kind != LzmaSymbol::kMatch) {
    EncodeRep(symbol, position);
    return;
  }
  EncodeLength(model_.match_length, symbol.length, position);
  EncodeDistance(symbol.distance_less_1, symbol.length);
  std::rotate(distances_.begin(), distances_.end() - 1, distances_.end());
  distances_[0] = symbol.distance_less_1;
  state_ = after_literal ? 7 : 10;
}

void LzmaEncoder::EncodeLiteral(uint8_t byte, const Context& context) {
  const size_t low_position = context.position & ((size_t{1} << properties_.lp) - 1);
  const size_t tree =
      (low_position << properties_.lc) + (size_t{context.before} >> (8 - properties_.lc));
  Probability* const trees = model_.literals[tree];
  // After a match a bit's tree depends on the bit that is expected, as long as all were the same.
  bool as_expected = state_ >= kFirstAfterMatch;
  size_t node = 1;
  for (int i = 7; i >= 0; --i) {
    const bool bit = (byte >> i & 1) != 0;
    const bool expected = (context.expected >> i & 1) != 0;
    const size_t which = !as_expected ? 0 : expected ? 2 : 1;
    coder_.Bit(trees[0x100 * which + node], bit);
    node = 2 * node + (bit ? 1 : 0);
    as_expected = as_expected && bit == expected;
  }
  state_ = state_ < 4 ? 0 : state_ < 10 ? state_ - 3 : state_ - 6;
}

void LzmaEncoder::EncodeRep(const LzmaSymbol& symbol, size_t position) {
  const bool after_literal = state_ < kFirstAfterMatch;
  const bool is_short = symbol.kind == LzmaSymbol::kShortRep;
  const unsigned age = is_short ? 0 : symbol.kind - LzmaSymbol::kRep0;
  for (unsigned i = 0; i < std::min(age + 1, 3U); ++i) {
    coder_.Bit(model_.is_rep_older[i][state_], age > i);
  }
  if (age == 0) {
    coder_.Bit(model_.is_long[state_][position], !is_short);
  }
  std::rotate(distances_.begin(), distances_.begin() + age, distances_.begin() + age + 1);
  if (is_short) {
    state_ = after_literal ? 9 : 11;
  } else {
    EncodeLength(model_.rep_length, symbol.length, position);
    state_ = after_literal ? 8 : 11;
  }
}

void LzmaEncoder::EncodeLength(Length& model, uint32_t length, size_t position) {
  assert(length >= LzmaSymbol::kShortest && length <= LzmaSymbol::kLongest);
  const uint32_t value = length - LzmaSymbol::kShortest;
  coder_.Bit(model.choice[0], value >= 8);
  if (value < 8) {
    Tree(model.low[position], 3, value);
    return;
  }
  coder_.Bit(model.choice[1], value >= 16);
  if (value < 16) {
    Tree(model.middle[position], 3, value - 8);
  } else {
    Tree(model.high, 8, value - 16);
  }
}

void LzmaEncoder::EncodeDistance(uint32_t distance_less_1, uint32_t length) {
  const unsigned slot = SlotOfDistance(distance_less_1);
  Tree(model_.slots[std::min(length - LzmaSymbol::kShortest, 3U)], 6, slot);
  if (slot < kFirstModelledSlot) {
    return;
  }
  const unsigned bits = slot / 2 - 1;
  const uint32_t rest = distance_less_1 & ((uint32_t{1} << bits) - 1);
  if (slot < kFirstDirectSlot) {
    ReversedTree(model_.special[slot], bits, rest);
  } else {
    coder_.Direct(rest >> 4, bits - 4);
    ReversedTree(model_.align, 4, rest & 15);
  }
}

void LzmaEncoder::Tree(Probability* tree, unsigned bits, uint32_t value) {
  uint32_t node = 1;
  while (bits-- != 0) {
    const uint32_t bit = value >> bits & 1;
    coder_.Bit(tree[node], bit != 0);
    node = 2 * node + bit;
  }
}

void LzmaEncoder::ReversedTree(Probability* tree, unsigned bits, uint32_t value) {
  uint32_t node = 1;
  for (; bits != 0; --bits, value >>= 1) {
    coder_.Bit(tree[node], (value & 1) != 0);
    node = 2 * node + (value & 1);
  }
}

}  // namespace xzfs
