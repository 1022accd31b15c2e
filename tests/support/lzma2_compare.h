// Decodes LZMA2 data in every way that our decoder has, and looks for what it does differently from
// liblzma.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "support/guarded_memory.h"
#include "support/lzma2_maker.h"
#include "support/lzma2_oracle.h"
#include "xz/lzma2_decoder.h"

namespace xzfs {

// Decodes with every code that runs here: in one go, in steps, and in a window that moves on with
// what is decoded. Its input and output lie directly before memory, or behind memory, that can't be
// touched: a decoder that does ends the program. Not thread-safe. Keeps its memory for the next
// data.
class Lzma2Comparison {
 public:
  // The first difference in words, or nothing. `seed` chooses the steps, and how much room there
  // is for the output. Data that gives more than `most_plain` bytes counts as damaged.
  std::string Compare(std::span<const uint8_t> data, uint32_t dictionary_bytes, size_t most_plain,
                      uint32_t seed);
  // Also compares liblzma with what the maker says.
  std::string Compare(const Lzma2Made& made, uint32_t seed);

 private:
  std::string CompareWith(const Lzma2Oracle::Answer& right, std::span<const uint8_t> data,
                          uint32_t dictionary_bytes, uint32_t seed);

  GuardedMemory input_;
  GuardedMemory output_;
  GuardedMemory older_;
  Lzma2Oracle oracle_;
};

}  // namespace xzfs
