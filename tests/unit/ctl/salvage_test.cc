// The cost of files that were made to be expensive. Tests of the program cover the salvage of other
// files.
#include "ctl/files/salvage.h"

#include <gtest/gtest.h>
#include <lzma.h>
#include <sys/mman.h>

#include <atomic>
#include <cstdint>
#include <string>

#include "base/unique_fd.h"
#include "support/mem_file.h"
#include "support/xz_builder.h"

namespace xzfs {
namespace {

constexpr Salvage::Options kOptions = {
    .keeps_partial = false, .decoder_bytes = uint64_t{8} << 20, .index_bytes = uint64_t{64} << 20};

// The header of a Block that says that it takes `block_bytes`, with a CRC64.
std::string BlockHeader(uint64_t block_bytes) {
  lzma_options_lzma options{};
  lzma_lzma_preset(&options, 0);
  lzma_filter filters[] = {{LZMA_FILTER_LZMA2, &options}, {LZMA_VLI_UNKNOWN, nullptr}};
  lzma_block block{};
  block.check = LZMA_CHECK_CRC64;
  block.filters = filters;
  block.compressed_size = block_bytes;
  block.uncompressed_size = 1;
  EXPECT_EQ(lzma_block_header_size(&block), LZMA_OK);
  block.compressed_size -= block.header_size + lzma_check_size(block.check);
  std::string header(block.header_size, '\0');
  EXPECT_EQ(lzma_block_header_encode(&block, reinterpret_cast<uint8_t*>(header.data())), LZMA_OK);
  return header;
}

// Bytes that begin like the Index of `count` Blocks, and go on like no Index.
std::string DamagedIndex(uint64_t count) {
  std::string index(10, '\0');
  size_t used = 1;
  EXPECT_EQ(lzma_vli_encode(count, nullptr, reinterpret_cast<uint8_t*>(index.data()), &used,
                            index.size()),
            LZMA_OK);
  index.resize(used);
  for (uint64_t i = 0; i < count; ++i) {
    index += std::string("\5\0", 2);
  }
  return index + std::string(64, '\xFF');
}

TEST(SalvageTest, BytesThatLookLikeAnIndexAreNotReadOncePerBlock) {
  constexpr uint64_t kBlocks = 50;
  std::string stored = XzBuilder().BeginStream().bytes();
  const size_t header_bytes = BlockHeader(uint64_t{1} << 20).size();
  const uint64_t end = stored.size() + (kBlocks * header_bytes) + (uint64_t{1} << 20);
  for (uint64_t i = 0; i < kBlocks; ++i) {
    stored += BlockHeader(end - stored.size());
  }
  stored.resize(end, '\xFF');
  stored += DamagedIndex(1 << 20);
  const MemFile from(stored);
  const UniqueFd to(memfd_create("salvaged", MFD_CLOEXEC));
  const std::atomic<bool> cancelled{false};

  const Result<SalvageReport> report = Salvage(from, to.get(), kOptions, cancelled).Run();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->missing.size(), kBlocks);
  uint64_t read_bytes = 0;
  for (const MemFile::Access& access : from.accesses()) {
    read_bytes += access.size;
  }
  // For each Block: a decoder's buffer, a search and some short reads.
  EXPECT_LT(read_bytes, 4 * stored.size() + kBlocks * (uint64_t{1} << 20));
}

}  // namespace
}  // namespace xzfs
