// What the fuzzers share: how their input is laid out, and help for getting past CRCs.
//
// Input: byte 0 chooses the format (low 2 bits, modulo 3 as in Format) and, with bit 7, that CRC32s
// are made right; byte 1 seeds the sizes of decoding steps; then comes the stored file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "xzfs/block_index.h"

namespace xzfs {

inline constexpr size_t kFuzzHeaderBytes = 2;

struct FuzzInput {
  Format format = Format::kXz;
  uint32_t seed = 0;
  std::string file;
};

// Nothing if there is too little input.
std::optional<FuzzInput> ParseFuzzInput(const uint8_t* data, size_t size);

// Makes the magic bytes and the CRC32s of all Stream Headers, Footers, Indexes and Block Headers of
// a .xz file right as far as they can be found from its end, so that a fuzzer reaches what is
// behind them.
void FixCrcs(std::string* file);

// What liblzma's own decoder of whole files says.
struct Verdict {
  enum { kDecoded, kRefused, kUnknown } outcome = kUnknown;  // unknown: too large or too costly
  std::string plain;
};
Verdict DecodeWithLiblzma(const FuzzInput& input);

// Ends the program, as a finding, if what must hold does not. Never compiled out.
void Require(bool holds, const char* what);

}  // namespace xzfs
