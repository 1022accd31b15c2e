#include "support/lzma_symbol_maker.h"

#include <algorithm>
#include <array>
#include <cassert>

namespace xzfs {

namespace {

using Symbol = LzmaSymbol;

// More than the bytes that one symbol takes.
constexpr size_t kLargestSymbol = 32;

// One is chosen from a style's row.
constexpr std::array<std::array<Symbol::Kind, 12>, LzmaSymbolMaker::kStyles> kKindsOfStyle = {{
    {Symbol::kLiteral, Symbol::kLiteral, Symbol::kLiteral, Symbol::kMatch, Symbol::kMatch,
     Symbol::kShortRep, Symbol::kShortRep, Symbol::kRep0, Symbol::kRep1, Symbol::kRep2,
     Symbol::kRep3, Symbol::kMatch},
    {},
    {Symbol::kMatch, Symbol::kMatch, Symbol::kRep0, Symbol::kRep0, Symbol::kRep1, Symbol::kRep2,
     Symbol::kRep3, Symbol::kMatch, Symbol::kRep3, Symbol::kRep2, Symbol::kRep1, Symbol::kMatch},
    {Symbol::kLiteral, Symbol::kMatch, Symbol::kShortRep, Symbol::kRep0, Symbol::kLiteral,
     Symbol::kMatch, Symbol::kShortRep, Symbol::kRep0, Symbol::kRep1, Symbol::kRep2, Symbol::kRep3,
     Symbol::kLiteral},
}};

bool HasLength(Symbol::Kind kind) { return kind != Symbol::kLiteral && kind != Symbol::kShortRep; }

uint32_t ChooseLength(LzmaSymbolMaker::Style style, size_t left, Choices& choices) {
  static constexpr std::array<uint32_t, 8> kBorders = {2, 3, 9, 10, 17, 18, 272, 273};
  uint32_t length = 0;
  switch (style == LzmaSymbolMaker::kLong ? 3 : choices.Below(4)) {
    case 0:
      length = Symbol::kShortest + choices.Below(8);
      break;
    case 1:
      length = kBorders[choices.Below(kBorders.size())];
      break;
    case 2:
      length = 10 + choices.Below(8);
      break;
    default:
      length = 18 + choices.Below(256);
  }
  return static_cast<uint32_t>(std::min<size_t>(length, left));
}

uint32_t ChooseAnyLength(Choices& choices) {
  return ChooseLength(LzmaSymbolMaker::kMixed, Symbol::kLongest, choices);
}

}  // namespace

uint64_t RoundedDictionary(uint32_t dictionary_bytes) {
  return std::max<uint64_t>(4096, (uint64_t{dictionary_bytes} + 15) & ~uint64_t{15});
}

size_t LzmaSymbolMaker::Farthest() const {
  return static_cast<size_t>(std::min<uint64_t>(position(), dictionary_bytes_));
}

void LzmaSymbolMaker::BreakHere() {
  if (is_sound()) {
    sound_bytes_ = plain_.size();
  }
}

void LzmaSymbolMaker::AddSymbols(const Plan& plan, Choices& choices) {
  const size_t begin = plain_.size();
  const size_t end = begin + plan.plain_bytes;
  Symbol symbol;
  uint32_t again = 0;
  for (size_t i = 0; i < plan.symbols && plain_.size() < end; ++i) {
    if (encoder_.chunk_bytes() > kMostCompressed - kLargestSymbol) {
      if (plan.fills) {
        FillCompressed(begin, choices);
      }
      return;
    }
    const size_t left = end - plain_.size();
    if (again != 0 && symbol.length <= left) {
      --again;
    } else {
      symbol = ChooseSymbol(plan.style, left, choices);
      again = plan.style == kRepeating ? choices.Below(256) : 0;
    }
    AddSymbol(symbol);
  }
}

// Adds literals until the chunk is as large as can be. One that makes it too large isn't added.
void LzmaSymbolMaker::FillCompressed(size_t plain_begin, Choices& choices) {
  for (int tries = 0; tries < 1000 && encoder_.chunk_bytes() < kMostCompressed &&
                      plain_.size() - plain_begin < kMostOfLzmaChunk;
       ++tries) {
    const LzmaEncoder before = encoder_;
    const auto byte = static_cast<uint8_t>(choices.Below(256));
    encoder_.Encode({.kind = Symbol::kLiteral, .byte = byte}, SymbolContext());
    if (encoder_.chunk_bytes() > kMostCompressed) {
      encoder_ = before;
    } else {
      plain_.push_back(byte);
    }
  }
}

size_t LzmaSymbolMaker::AddFaultySymbol(Lzma2Fault fault, Choices& choices) {
  if (fault == Lzma2Fault::kLength) {
    return AddTooLong(choices);
  }
  BreakHere();
  Symbol symbol = {.kind = Symbol::kMatch, .length = ChooseAnyLength(choices)};
  if (fault == Lzma2Fault::kRepOfNothing) {
    symbol.kind = static_cast<Symbol::Kind>(Symbol::kShortRep + choices.Below(5));
    symbol.length = HasLength(symbol.kind) ? symbol.length : 1;
  } else {
    symbol.distance_less_1 =
        fault == Lzma2Fault::kEndMarker ? UINT32_MAX : ChooseFaultyDistance(choices);
    ++coverage_.faulty_slots[SlotOfDistance(symbol.distance_less_1)];
  }
  AddSymbol(symbol);
  for (uint32_t more = choices.Below(4); more != 0; --more) {
    AddSymbol(ChooseSymbol(kMixed, Symbol::kLongest, choices));
  }
  return 0;
}

// A match is the last symbol, and the chunk ends inside of it.
size_t LzmaSymbolMaker::AddTooLong(Choices& choices) {
  if (Farthest() == 0) {
    AddSymbol({.kind = Symbol::kLiteral, .byte = 1});
  }
  BreakHere();
  const uint32_t length = ChooseAnyLength(choices);
  const Symbol::Kind kind = choices.Below(2) == 0 ? Symbol::kRep0 : Symbol::kMatch;
  AddSymbol({.kind = kind, .length = length, .distance_less_1 = ChooseDistance(choices)});
  return choices.Below(2) == 0 ? 1 : 1 + choices.Below(length - 1);
}

LzmaEncoder::Context LzmaSymbolMaker::SymbolContext() const {
  const uint32_t back = encoder_.distances()[0];
  return {.position = position(),
          .before = position() == 0 ? uint8_t{0} : plain_.back(),
          .expected = back >= position() ? uint8_t{0} : plain_[plain_.size() - 1 - back]};
}

void LzmaSymbolMaker::AddSymbol(const Symbol& symbol) {
  if (is_sound()) {
    Count(symbol);
  }
  encoder_.Encode(symbol, SymbolContext());
  if (symbol.kind == Symbol::kLiteral) {
    plain_.push_back(symbol.byte);
    return;
  }
  const uint32_t back = encoder_.distances()[0];
  const bool is_there = back < Farthest();
  assert(is_there || !is_sound());
  for (uint32_t i = 0; i < symbol.length; ++i) {
    plain_.push_back(is_there ? plain_[plain_.size() - 1 - back] : uint8_t{0});
  }
}

void LzmaSymbolMaker::Count(const Symbol& symbol) {
  ++coverage_.symbols[encoder_.state()][symbol.kind];
  if (symbol.kind == Symbol::kMatch) {
    ++coverage_.match_lengths[symbol.length];
    ++coverage_.slots[SlotOfDistance(symbol.distance_less_1)];
    const uint64_t distance = uint64_t{symbol.distance_less_1} + 1;
    coverage_.distances_to_the_reset += distance == position() ? 1 : 0;
    coverage_.distances_of_the_dictionary +=
        distance == dictionary_bytes_ && distance < position() ? 1 : 0;
  } else if (HasLength(symbol.kind)) {
    ++coverage_.rep_lengths[symbol.length];
  }
}

Symbol LzmaSymbolMaker::ChooseSymbol(Style style, size_t left, Choices& choices) const {
  Symbol symbol;
  symbol.kind = kKindsOfStyle[style][choices.Below(kKindsOfStyle[style].size())];
  if (HasLength(symbol.kind) && left < Symbol::kShortest) {
    symbol.kind = Symbol::kShortRep;
  }
  if (encoder_.distances()[0] >= Farthest()) {
    // Nothing is there, or not any more: behind a fault.
    symbol.kind = Symbol::kLiteral;
  }
  if (symbol.kind == Symbol::kLiteral) {
    symbol.byte = style == kNoise ? static_cast<uint8_t>(choices.Below(256)) : ChooseByte(choices);
  }
  if (HasLength(symbol.kind)) {
    symbol.length = ChooseLength(style, left, choices);
  }
  if (symbol.kind == Symbol::kMatch) {
    symbol.distance_less_1 = ChooseDistance(choices);
  }
  return symbol;
}

uint8_t LzmaSymbolMaker::ChooseByte(Choices& choices) const {
  const LzmaEncoder::Context context = SymbolContext();
  switch (choices.Below(5)) {
    case 0:
      return static_cast<uint8_t>('a' + choices.Below(4));
    case 1:
      return static_cast<uint8_t>(context.expected ^ (1U << choices.Below(8)));
    case 2:
      return context.expected;
    case 3:
      return context.before;
    default:
      return static_cast<uint8_t>(choices.Below(256));
  }
}

// Less 1, like all numbers here.
uint32_t LzmaSymbolMaker::ChooseDistance(Choices& choices) const {
  const auto farthest = static_cast<uint32_t>(Farthest() - 1);
  switch (choices.Below(4)) {
    case 0:
      return std::min(choices.Below(40), farthest);
    case 1:
      return farthest - std::min(choices.Below(4), farthest);
    default: {
      const unsigned slot = choices.Below(SlotOfDistance(farthest) + 1);
      if (slot < 4) {
        return slot;
      }
      const unsigned bits = slot / 2 - 1;
      const uint32_t first = (2 | (slot & 1)) << bits;
      return first + choices.Below(std::min(uint32_t{1} << bits, farthest - first + 1));
    }
  }
}

// One too far, a little more, or anything up to the farthest that isn't the end marker.
uint32_t LzmaSymbolMaker::ChooseFaultyDistance(Choices& choices) const {
  const auto first = static_cast<uint32_t>(Farthest());
  if (choices.Below(2) == 0) {
    return first + choices.Below(3);
  }
  const uint64_t count = uint64_t{UINT32_MAX} - first;
  const uint64_t bits = choices.Below(33);
  return first + choices.Below(std::min(uint64_t{1} << bits, count));
}

}  // namespace xzfs
