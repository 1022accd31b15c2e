// The formats of compressed bytes.
#pragma once

#if __cplusplus < 202002L
#error "xzfs needs C++20: compile with -std=c++20 or later"
#endif

#include <cstdint>

namespace xzfs {

enum class Format : uint8_t {
  kXz,         // .xz
  kLzmaAlone,  // .lzma, the format before .xz
  kLzip,       // .lz, to decompress only
  kRaw,        // the bare output of filters: no magic, no sizes, no Check. No file has it
  kAuto,       // to decompress only: .xz, .lzma or .lz, by how the bytes begin
};

}  // namespace xzfs
