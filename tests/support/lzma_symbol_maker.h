// The symbols of LZMA2 chunks, chosen and encoded: the inner part of lzma2_maker.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "support/choices.h"
#include "support/lzma2_coverage.h"
#include "support/lzma_encoder.h"

namespace xzfs {

// Facts of the format, in bytes.
inline constexpr size_t kMostOfLzmaChunk = size_t{2} << 20;
inline constexpr size_t kMostCompressed = size_t{64} << 10;

// The dictionary size for which liblzma, and hence every decoder, judges distances.
uint64_t RoundedDictionary(uint32_t dictionary_bytes);

// Has an encoder, and the plain bytes of what is encoded.
class LzmaSymbolMaker {
 public:
  // Which symbols there are: all; literals; long matches; each many times in a row.
  enum Style { kMixed, kNoise, kLong, kRepeating };
  static constexpr size_t kStyles = 4;

  // What a chunk gets.
  struct Plan {
    size_t symbols = 1;  // at most
    size_t plain_bytes = kMostOfLzmaChunk;
    Style style = kMixed;
    bool fills = false;  // the compressed size to the last byte
  };

  LzmaSymbolMaker(uint32_t dictionary_bytes, Lzma2Coverage& coverage)
      : dictionary_bytes_(RoundedDictionary(dictionary_bytes)), coverage_(coverage) {}

  LzmaEncoder& encoder() { return encoder_; }
  const std::vector<uint8_t>& plain() const { return plain_; }
  // How much of `plain` comes before the fault.
  size_t sound_bytes() const { return sound_bytes_ == SIZE_MAX ? plain_.size() : sound_bytes_; }

  void ResetDictionary() { reset_at_ = plain_.size(); }
  // Adds a byte of a plain chunk.
  void AddPlain(uint8_t byte) { plain_.push_back(byte); }
  // Adds symbols to the encoder's chunk, which has none. Stops where nothing more fits in.
  void AddSymbols(const Plan& plan, Choices& choices);
  // Adds one with that fault, and perhaps some symbols behind it. Returns how many of the bytes
  // that it adds the chunk's header must not count.
  size_t AddFaultySymbol(Lzma2Fault fault, Choices& choices);
  // What comes from here on comes behind a fault, and may refer to what isn't there.
  void BreakHere();

 private:
  bool is_sound() const { return sound_bytes_ == SIZE_MAX; }
  // Bytes since the last reset of the dictionary, and how far back a match may go.
  size_t position() const { return plain_.size() - reset_at_; }
  size_t Farthest() const;
  LzmaEncoder::Context SymbolContext() const;

  void FillCompressed(size_t plain_begin, Choices& choices);
  size_t AddTooLong(Choices& choices);
  void AddSymbol(const LzmaSymbol& symbol);
  void Count(const LzmaSymbol& symbol);
  LzmaSymbol ChooseSymbol(Style style, size_t left, Choices& choices) const;
  uint8_t ChooseByte(Choices& choices) const;
  uint32_t ChooseDistance(Choices& choices) const;
  uint32_t ChooseFaultyDistance(Choices& choices) const;

  const uint64_t dictionary_bytes_;
  Lzma2Coverage& coverage_;
  LzmaEncoder encoder_;
  std::vector<uint8_t> plain_;
  size_t reset_at_ = 0;
  size_t sound_bytes_ = SIZE_MAX;
};

}  // namespace xzfs
