#include "store/ordered_encoder.h"

#include <cerrno>
#include <memory>
#include <new>
#include <utility>

#include "base/try.h"
#include "xz/stream_builder.h"
#include "xzfs/check.h"

namespace xzfs {

void OrderedEncoder::Submit(Plain plain) {
  blocks_.Run([this, plain = std::move(plain)] { return Encode(plain); });
}

void OrderedEncoder::SubmitHere(Plain plain) {
  blocks_.RunHere([this, plain = std::move(plain)] { return Encode(plain); });
}

Result<OrderedEncoder::Encoded> OrderedEncoder::Encode(const Plain& plain) const try {
  const bool cancelled =
      options_.cancelled != nullptr && options_.cancelled->load(std::memory_order_relaxed);
  if (cancelled || ended_.load(std::memory_order_relaxed)) {
    return Fail(ECANCELED, "cancelled");
  }
  std::unique_ptr<EncodePool::Workspace> workspace = pool_.Take(options_.encode);
  Encoded encoded;
  {
    const auto idle = pool_.Lower();
    XZFS_ASSIGN_OR_RETURN(const std::span<const std::byte> bytes, plain(workspace->plain));
    XZFS_ASSIGN_OR_RETURN(encoded.block, workspace->encoder.Encode(bytes, options_.cancelled));
    if (options_.with_plain_crc) {
      encoded.plain_crc = PlainCrc(options_.encode.check, encoded.block.bytes, bytes);
    }
  }
  pool_.Give(std::move(workspace), options_.encode);
  return encoded;
} catch (const std::bad_alloc&) {
  return Fail(ENOMEM, "no memory to encode a Block: use smaller ones, or fewer threads");
}

uint64_t PlainCrc(Check check, std::span<const std::byte> end_of_block,
                  std::span<const std::byte> plain) {
  if (check != Check::kCrc64 || end_of_block.size() < sizeof(uint64_t)) {
    return Crc64(plain);
  }
  uint64_t crc = 0;
  for (const std::byte byte : end_of_block.last(sizeof crc)) {  // little endian
    crc = crc >> 8 | uint64_t{std::to_integer<uint8_t>(byte)} << 56;
  }
  return crc;
}

}  // namespace xzfs
