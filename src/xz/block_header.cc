#include "xz/block_header.h"

#include <algorithm>
#include <cerrno>

#include "base/fail.h"
#include "base/try.h"

namespace xzfs {
namespace {

// LZMA2 has no smaller dictionary.
constexpr uint64_t kSmallestDict = 4096;

}  // namespace

Status DecodeXzHeader(std::span<const uint8_t> bytes, Check check, XzHeader* header) {
  if (bytes.empty() || bytes[0] == 0) {
    return Fail(EIO, "there is no Block Header where the Block should begin");
  }
  lzma_block& block = header->block;
  block.version = 1;
  block.check = static_cast<lzma_check>(check);
  block.header_size = lzma_block_header_size_decode(bytes[0]);
  if (block.header_size > bytes.size()) {
    return Fail(EIO, "the Block Header is longer than what is there of the Block");
  }
  const lzma_ret ret = lzma_block_header_decode(&block, nullptr, bytes.data());
  return ret == LZMA_OK ? Status() : FailLzma(ret, "the Block Header");
}

Status DecodeBlockHeader(std::span<const uint8_t> bytes, const BlockInfo& info, XzHeader* header) {
  XZFS_RETURN_IF_ERROR(DecodeXzHeader(bytes, info.check, header));
  lzma_block& block = header->block;
  const lzma_ret ret = lzma_block_compressed_size(&block, info.unpadded_size);
  if (ret != LZMA_OK) {
    return Fail(EIO, "the Block Header and the Index do not agree on the compressed size");
  }
  if (block.uncompressed_size != LZMA_VLI_UNKNOWN && block.uncompressed_size != info.plain_size) {
    return Fail(EIO, "the Block Header and the Index do not agree on the plain size");
  }
  block.uncompressed_size = info.plain_size;
  return {};
}

void ClampDictionary(uint64_t plain_size, XzHeader* header) {
  for (lzma_filter* filter = header->filters.get(); filter->id != LZMA_VLI_UNKNOWN; ++filter) {
    if (filter->id == LZMA_FILTER_LZMA2) {
      auto* options = static_cast<lzma_options_lzma*>(filter->options);
      const uint64_t needed = std::max(plain_size, kSmallestDict);
      options->dict_size = static_cast<uint32_t>(std::min<uint64_t>(options->dict_size, needed));
    }
  }
}

}  // namespace xzfs
