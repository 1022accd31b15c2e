// A Block Header, decoded by liblzma.
#pragma once

#include <lzma.h>

#include <cstdint>
#include <span>

#include "xz/lzma_util.h"
#include "xzfs/block_index.h"
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

// The size of a Block in the stored file, with Block Padding.
inline uint64_t StoredSize(const BlockInfo& block) {
  return (block.unpadded_size + 3) & ~uint64_t{3};
}

// The same for a Block that the Index knows. The sizes that the header leaves open are completed.
// Errors: EIO also if header and Index do not agree.
Status DecodeBlockHeader(std::span<const uint8_t> bytes, const BlockInfo& info, XzHeader* header);

// Makes the dictionary no larger than a Block of that size, as a Block only refers back to its own
// bytes.
void ClampDictionary(uint64_t plain_size, XzHeader* header);

}  // namespace xzfs
