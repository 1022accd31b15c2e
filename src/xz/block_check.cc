#include "xz/block_check.h"

#include <lzma.h>

#include "xz/lzma_util.h"

namespace xzfs {

void BlockCheck::Add(std::span<const std::byte> bytes) {
  const auto* const data = reinterpret_cast<const uint8_t*>(bytes.data());
  value_ = check_ == Check::kCrc32 ? lzma_crc32(data, bytes.size(), static_cast<uint32_t>(value_))
                                   : lzma_crc64(data, bytes.size(), value_);
}

bool BlockCheck::Matches(const uint8_t* stored) const {
  return value_ == (check_ == Check::kCrc32 ? LoadLe32(stored) : LoadLe64(stored));
}

}  // namespace xzfs
