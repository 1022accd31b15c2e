// Encodes with all combinations of an encoder's choices, and decodes in random steps: the bytes are
// the same.
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <tuple>

#include "decode_util.h"
#include "support/mem_file.h"
#include "support/xz_builder.h"

namespace xzfs {
namespace {

struct Layout {
  const char* name;
  size_t block_bytes;
  int stream_count;
  size_t padding_bytes;  // after each Stream
  bool empty_streams;    // between the others, and at both ends
  bool empty_blocks;     // around the others
};

constexpr Layout kLayouts[] = {
    {"OneBlock", 1 << 20, 1, 0, false, false}, {"ManyBlocks", 5000, 1, 0, false, false},
    {"TinyBlocks", 331, 1, 0, false, false},   {"ManyStreams", 7000, 3, 0, false, false},
    {"Padding", 20000, 2, 12, false, false},   {"EmptyStreams", 9000, 2, 0, true, false},
    {"EmptyBlocks", 9000, 1, 0, false, true},  {"Everything", 6000, 3, 8, true, true},
};

constexpr Check kChecks[] = {kCheckNone, kCheckCrc32, kCheckCrc64, kCheckSha256};

constexpr const char* kChains[] = {
    "lzma2:preset=0,dict=64KiB",
    "delta:dist=3 lzma2:preset=0,dict=64KiB",
    "x86 lzma2:preset=0,dict=64KiB",
    "arm64 lzma2:preset=0,dict=64KiB",
    "lzma2:preset=1,dict=4KiB,lc=0,lp=4,pb=0",
    "delta:dist=256 x86 lzma2:preset=1,dict=8KiB,lc=1,lp=1,pb=4",
};

// Each test loops over the filter chains, and over Block Headers with and without sizes: a separate
// case for every combination would be slow to list and to start.
using Case = std::tuple<Layout, Check>;

class EncoderMatrixTest : public testing::TestWithParam<Case> {};

void AddOneStream(const Layout& layout, Check check, const XzBuilder::Block& how,
                  std::string_view plain, XzBuilder* builder) {
  if (layout.empty_streams) {
    builder->BeginStream(check).EndStream().AddPadding(layout.padding_bytes);
  }
  builder->BeginStream(check);
  for (size_t at = 0; at < plain.size(); at += layout.block_bytes) {
    if (layout.empty_blocks) {
      builder->AddBlock("", how).AddBlock("", how);
    }
    builder->AddBlock(plain.substr(at, layout.block_bytes), how);
  }
  if (layout.empty_blocks) {
    builder->AddBlock("", how);
  }
  builder->EndStream().AddPadding(layout.padding_bytes);
}

XzBuilder BuildFile(const Layout& layout, Check check, const XzBuilder::Block& how) {
  XzBuilder builder;
  for (int stream = 0; stream < layout.stream_count; ++stream) {
    const auto seed = static_cast<uint32_t>(stream);
    AddOneStream(layout, check, how, SomeText(15000, seed) + SomeNoise(9000, seed), &builder);
  }
  if (layout.empty_streams) {
    builder.BeginStream(check).EndStream();
  }
  return builder;
}

void ExpectDecodesToItsPlain(const XzBuilder& builder, uint64_t stream_count, Check check) {
  const std::string& plain = builder.plain();
  const MemFile file(builder.bytes());
  const Result<BlockIndex> index = ReadIndex(file);
  ASSERT_TRUE(index) << index.error().message;
  EXPECT_EQ(index->plain_size(), plain.size());
  ASSERT_EQ(index->block_count(), builder.block_offsets().size());
  EXPECT_EQ(index->stream_count(), stream_count);
  std::mt19937 random(7);
  for (uint64_t number = 0; number < index->block_count(); ++number) {
    const BlockInfo block = index->Block(number);
    EXPECT_EQ(block.compressed_offset, builder.block_offsets()[number]);
    EXPECT_EQ(block.check, check);
    const Result<std::string> decoded = DecodeBlock(file, *index, number, &random);
    ASSERT_TRUE(decoded) << decoded.error().message;
    ASSERT_TRUE(*decoded == plain.substr(block.plain_offset, block.plain_size)) << number;
  }
}

TEST_P(EncoderMatrixTest, DecodingGivesTheEncodedBytes) {
  const auto& [layout, check] = GetParam();
  const int stream_count =
      layout.stream_count * (layout.empty_streams ? 2 : 1) + (layout.empty_streams ? 1 : 0);
  for (const char* chain : kChains) {
    for (const bool sizes_in_header : {false, true}) {
      SCOPED_TRACE(std::string(chain) + (sizes_in_header ? ", sizes" : ", no sizes"));
      XzBuilder::Block how;
      how.filters = chain;
      how.sizes_in_header = sizes_in_header;
      ExpectDecodesToItsPlain(BuildFile(layout, check, how), static_cast<uint64_t>(stream_count),
                              check);
    }
  }
}

TEST_P(EncoderMatrixTest, EveryByteIsFoundInTheBlockThatHoldsIt) {
  const auto& [layout, check] = GetParam();
  XzBuilder builder;
  AddOneStream(layout, check, {}, SomeText(1000), &builder);
  const MemFile file(builder.bytes());
  const Result<BlockIndex> index = ReadIndex(file);
  ASSERT_TRUE(index) << index.error().message;
  for (uint64_t offset = 0; offset < index->plain_size(); ++offset) {
    const BlockInfo block = index->Find(offset);
    ASSERT_LE(block.plain_offset, offset);
    ASSERT_GT(block.plain_offset + block.plain_size, offset);
  }
}

std::string CaseName(const testing::TestParamInfo<Case>& info) {
  const auto& [layout, check] = info.param;
  return std::string(layout.name) + "Check" + std::to_string(static_cast<unsigned>(check));
}

INSTANTIATE_TEST_SUITE_P(All, EncoderMatrixTest,
                         testing::Combine(testing::ValuesIn(kLayouts), testing::ValuesIn(kChecks)),
                         CaseName);

}  // namespace
}  // namespace xzfs
