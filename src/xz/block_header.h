// A Block Header, decoded by liblzma.
#pragma once

#include <lzma.h>

#include <cstdint>
#include <span>

#include "xz/lzma_util.h"
#include "xzfs/check.h"
#include "xzfs/result.h"

namespace xzfs {

// A decoded Block Header. liblzma keeps pointers between its parts.
struct XzHeader {
  XzHeader() { block.filters = filters.get(); }
  XzHeader(const XzHeader&) = delete;
  XzHeader& operator=(const XzHeader&) = delete;

  LzmaFilters filters;
  lzma_block block{};
};

// Decodes the header that `bytes` begin with into `*header`. `check`: the Stream's Check ID. A size
// that the header doesn't have is LZMA_VLI_UNKNOWN. Errors: EIO if there is none, it is damaged or
// it is longer than `bytes`.
Status DecodeXzHeader(std::span<const uint8_t> bytes, Check check, XzHeader* header);

// Makes the dictionary no larger than a Block of that size, as a Block only refers back to its own
// bytes.
void ClampDictionary(uint64_t plain_size, XzHeader* header);

}  // namespace xzfs
