// Makes LZMA2 data of all kinds, most of which no encoder writes: for tests of decoders.
//
// Bytes choose what is made, so a fuzzer can. All choices are legal, and what comes of them is
// valid, except that they may ask for one fault. The plain bytes come with it: the maker's own
// copying makes them, so they depend on no decoder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "support/lzma2_coverage.h"

namespace xzfs {

struct Lzma2Made {
  enum class Meant {
    kValid,
    kDamaged,
    kEither,  // a fault that makes other data, which may be valid by chance
  };

  std::vector<uint8_t> data;
  size_t end = 0;  // of what is meant to be read of `data`, if it's valid: behind the end marker
  uint32_t dictionary_bytes = 0;  // as the header of a Block would say
  // What a decoder gives; of damaged data, what comes before the chunk or symbol with the fault.
  std::vector<uint8_t> plain;
  Meant meant = Meant::kValid;
  Lzma2Fault fault = Lzma2Fault::kNone;
};

struct Lzma2MakerOptions {
  // Chunks are added only below.
  size_t most_plain = size_t{4} << 20;
  // So many plain bytes come before what is chosen, in one dictionary, for far distances.
  size_t plain_before = 0;
  // If they aren't to be chosen.
  std::optional<uint32_t> dictionary_bytes = {};
  std::optional<Lzma2Fault> fault = {};
};

// The same `choices` and options make the same. If `coverage` isn't null, adds to it.
Lzma2Made MakeLzma2(std::span<const uint8_t> choices, Lzma2Coverage* coverage,
                    const Lzma2MakerOptions& options = {});

}  // namespace xzfs
