// Damages every byte: a Block gives its bytes or an error, and only the damaged Block fails.
#include <gtest/gtest.h>

#include <cerrno>
#include <string>

#include "decode_util.h"
#include "support/mem_file.h"
#include "support/xz_builder.h"

namespace xzfs {
namespace {

struct Tally {
  size_t refused_files = 0;
  size_t refused_blocks = 0;
  size_t readable_blocks = 0;
};

// Reads a damaged file whose byte `hit` was changed and compares what it gives with the truth.
void CheckDamaged(const XzBuilder& truth, const std::string& bytes, size_t hit, Tally* tally) {
  const MemFile file(bytes);
  const Result<BlockIndex> index = ReadIndex(file);
  if (!index) {
    ++tally->refused_files;
    EXPECT_EQ(index.error().code, EIO) << hit << index.error().message;
    return;
  }
  ASSERT_EQ(index->block_count(), truth.block_offsets().size()) << hit;
  for (uint64_t number = 0; number < index->block_count(); ++number) {
    const BlockInfo block = index->Block(number);
    const Result<std::string> decoded = DecodeBlock(file, *index, number);
    const bool was_hit = truth.block_offsets()[number] <= hit && hit < truth.block_ends()[number];
    ASSERT_EQ(decoded.has_value(), !was_hit) << "byte " << hit << ", Block " << number;
    if (decoded) {
      ++tally->readable_blocks;
      ASSERT_EQ(*decoded, truth.plain().substr(block.plain_offset, block.plain_size)) << hit;
    } else {
      ++tally->refused_blocks;
      ASSERT_EQ(decoded.error().code, EIO) << hit << decoded.error().message;
    }
  }
}

class DamageTest : public testing::TestWithParam<const char*> {};

TEST_P(DamageTest, AFlipOfAnyByteNeverGivesWrongBytesAndHurtsOneBlockOnly) {
  const XzBuilder::Block how = {.filters = GetParam(), .sizes_in_header = true};
  XzBuilder truth;
  truth.AddStream(SomeText(700), 300, kCheckCrc32).AddPadding(4);
  truth.AddStream(SomeText(500, 2) + SomeNoise(100), 300, kCheckCrc64, how);
  truth.AddStream("", 1, kCheckSha256).AddStream("last", 9, kCheckSha256, how);
  ASSERT_TRUE(ReadIndex(MemFile(truth.bytes())));
  Tally tally;
  for (size_t hit = 0; hit < truth.bytes().size(); ++hit) {
    for (const int flip : {0x01, 0x80, 0xFF}) {
      std::string bytes = truth.bytes();
      bytes[hit] = static_cast<char>(bytes[hit] ^ flip);
      CheckDamaged(truth, bytes, hit, &tally);
    }
  }
  EXPECT_GT(tally.refused_files, 100u);
  EXPECT_GT(tally.refused_blocks, 1000u);
  EXPECT_GT(tally.readable_blocks, 5 * tally.refused_blocks / 2);
}

INSTANTIATE_TEST_SUITE_P(Chains, DamageTest,
                         testing::Values("lzma2:preset=1,dict=4KiB", "x86 lzma2:preset=1,dict=4KiB",
                                         "delta:dist=2 lzma2:preset=1,dict=4KiB"));

TEST(DamageOfLegacyTest, AFlipOfAnyByteOfALzipFileNeverGivesWrongBytes) {
  const std::string plain[] = {SomeText(300), SomeText(200, 2)};
  const std::string good = MakeLzipMember(plain[0]) + MakeLzipMember(plain[1]);
  size_t refused = 0;
  size_t readable = 0;
  for (size_t hit = 0; hit < good.size(); ++hit) {
    for (const int flip : {0x01, 0x80, 0xFF}) {
      std::string bytes = good;
      bytes[hit] = static_cast<char>(bytes[hit] ^ flip);
      const MemFile file(bytes);
      const Result<BlockIndex> index = ReadIndex(file, Format::kLzip);
      if (!index) {
        ++refused;
        continue;
      }
      for (uint64_t number = 0; number < index->block_count(); ++number) {
        const Result<std::string> decoded = DecodeBlock(file, *index, number);
        refused += !decoded;
        // Sizes in trailers have no CRC: a Block that is right may be at another offset, and both
        // members may have become one.
        if (decoded) {
          ++readable;
          EXPECT_TRUE(*decoded == plain[0] || *decoded == plain[1] ||
                      *decoded == plain[0] + plain[1])
              << hit;
        }
      }
    }
  }
  EXPECT_GT(refused, good.size());
  EXPECT_GT(readable, good.size());
}

}  // namespace
}  // namespace xzfs
