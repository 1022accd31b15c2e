// What a Stream has to prove that a Block was decoded to the right bytes.
#pragma once

#if __cplusplus < 202002L
#error "xzfs needs C++20: compile with -std=c++20 or later"
#endif

#include <cstdint>

#include "xzfs/export.h"

namespace xzfs {

// Check IDs of the .xz format. A Stream may have any ID up to kLargestCheckId; those without a name
// here are unknown to liblzma.
enum class Check : uint8_t {
  kNone = 0,
  kCrc32 = 1,
  kCrc64 = 4,
  kSha256 = 10,
};
inline constexpr uint8_t kLargestCheckId = 15;

// Whether liblzma can compute it. Blocks with a Check that liblzma can't compute are decoded, as xz
// does, but not verified. Thread-safe.
XZFS_EXPORT bool IsCheckSupported(Check check);

}  // namespace xzfs
