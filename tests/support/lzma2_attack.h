// What a fuzzer does to our LZMA2 decoder.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "support/lzma2_compare.h"
#include "support/lzma2_foreign_state.h"

namespace xzfs {

// Not thread-safe. Keeps its memory for the next attack.
class Lzma2Attack {
 public:
  // What input is:
  //   byte 0      a Kind, modulo their number
  //   byte 1      of data that is made: 255 allows much of it. Of data: log2 of the dictionary
  //   size. byte 2, 3   chooses the steps of decoding then        choices of the maker; or 20 bytes
  //   that choose changes, and choices of the maker; or
  //               data; or choices of a foreign state
  enum class Kind : uint8_t { kMade, kChanged, kData, kForeignState };
  static constexpr uint32_t kKinds = 4;

  // What the decoder does wrong, in words, or nothing. May also end the program: see
  // Lzma2Comparison.
  std::string Try(std::span<const uint8_t> input);

 private:
  Lzma2Comparison comparison_;
  Lzma2ForeignState foreign_state_;
};

// Input that decodes `data` as it is, with a dictionary of 1 MiB.
std::vector<uint8_t> AttackWith(std::span<const uint8_t> data);

}  // namespace xzfs
