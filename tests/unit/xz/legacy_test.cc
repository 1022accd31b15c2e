// .lzma and .lz files.
#include <gtest/gtest.h>

#include <cerrno>
#include <random>
#include <string>

#include "decode_util.h"
#include "support/mem_file.h"
#include "support/xz_builder.h"

namespace xzfs {
namespace {

constexpr uint64_t kKiB = 1024;

void ExpectDecodesTo(const MemFile& file, Format format, const std::string& plain,
                     uint64_t block_count, uint64_t stream_count) {
  const Result<BlockIndex> index = ReadIndex(file, format);
  ASSERT_TRUE(index) << index.error().message;
  EXPECT_EQ(index->format(), format);
  EXPECT_EQ(index->plain_size(), plain.size());
  EXPECT_EQ(index->block_count(), block_count);
  EXPECT_EQ(index->stream_count(), stream_count);
  std::mt19937 random(5);
  const Result<std::string> decoded = DecodeAll(file, *index, &random);
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_TRUE(*decoded == plain);
  for (uint64_t number = 0; number < block_count; ++number) {
    const BlockInfo block = index->Block(number);
    EXPECT_EQ(block.check, format == Format::kLzip ? kCheckCrc32 : kCheckNone);
    EXPECT_EQ(DescribeFilters(file, *index, block).value(), "lzma1");
    const uint64_t bound = BlockDecoderMemory(file, *index, block).value();
    const auto decoder = BlockDecoder::Open(file, *index, block, bound);
    ASSERT_TRUE(decoder) << decoder.error().message;
    EXPECT_LE((*decoder)->memory_bytes(), bound);
  }
}

TEST(LzmaAloneTest, IsOneBlockWithAndWithoutASizeInItsHeader) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{70000}, size_t{400000}}) {
    const std::string plain = SomeText(size / 2) + SomeNoise(size - size / 2);
    ExpectDecodesTo(MemFile(MakeLzmaAlone(plain, true)), Format::kLzmaAlone, plain, 1, 1);
    ExpectDecodesTo(MemFile(MakeLzmaAlone(plain, false)), Format::kLzmaAlone, plain, 1, 1);
  }
}

TEST(LzmaAloneTest, WithASizeInItsHeaderOnlyTheHeaderIsRead) {
  const MemFile file(MakeLzmaAlone(SomeNoise(100000), true));
  ASSERT_TRUE(ReadIndex(file, Format::kLzmaAlone));
  EXPECT_EQ(file.accesses(), (std::vector<MemFile::Access>{{0, 13}}));
}

TEST(LzmaAloneTest, DamageIsRefusedWhenReadOrWhenDecoded) {
  const std::string plain = SomeText(3000);
  for (const bool known : {false, true}) {
    const std::string good = MakeLzmaAlone(plain, known);
    for (const std::string& bad : {good + "x", good + std::string(13, '\0')}) {
      const MemFile file(bad);
      const Result<BlockIndex> index = ReadIndex(file, Format::kLzmaAlone);
      EXPECT_EQ(index.has_value(), known);
      EXPECT_FALSE(index && DecodeAll(file, *index)) << "something follows the data";
    }
    for (size_t size = 0; size < good.size(); ++size) {
      const MemFile file(good.substr(0, size));
      const Result<BlockIndex> index = ReadIndex(file, Format::kLzmaAlone);
      EXPECT_FALSE(index && DecodeAll(file, *index)) << size;
    }
  }
}

TEST(LzmaAloneTest, ASizeInTheHeaderThatIsALieIsRefusedWhenDecoded) {
  const std::string plain = SomeText(1000);
  for (const uint64_t claimed : {0u, 1u, 999u, 1001u, 100000u}) {
    std::string bytes = MakeLzmaAlone(plain, true);
    for (size_t i = 0; i < 8; ++i) {
      bytes[5 + i] = static_cast<char>(claimed >> (8 * i));
    }
    const MemFile file(bytes);
    const Result<BlockIndex> index = ReadIndex(file, Format::kLzmaAlone);
    ASSERT_TRUE(index);
    EXPECT_EQ(index->plain_size(), claimed);
    EXPECT_FALSE(DecodeAll(file, *index)) << claimed;
  }
}

// `bytes` of a .lzma file with another dictionary size in its header.
std::string WithDictionary(std::string bytes, uint32_t dict) {
  for (size_t i = 0; i < 4; ++i) {
    bytes[1 + i] = static_cast<char>(dict >> (8 * i));
  }
  return bytes;
}

TEST(LegacyMemoryTest, AHugeDictionaryInTheHeaderIsNotAllocated) {
  const std::string plain = SomeText(9000);
  const std::string files[] = {WithDictionary(MakeLzmaAlone(plain, false), UINT32_MAX),
                               WithDictionary(MakeLzmaAlone(plain, true), UINT32_MAX),
                               MakeLzipMember(plain, 1, 29), MakeLzipMember(plain, 0, 29)};
  for (const std::string& bytes : files) {
    const Format format = bytes[0] == 'L' ? Format::kLzip : Format::kLzmaAlone;
    const MemFile file(bytes);
    const Result<BlockIndex> index =
        BlockIndex::Read(file, format, {.memory_limit_bytes = 300 * kKiB});
    ASSERT_TRUE(index) << index.error().message;
    EXPECT_LT(BlockDecoderMemory(file, *index, index->Block(0)).value(), 200 * kKiB);
    EXPECT_EQ(DecodeAll(file, *index).value(), plain);
  }
}

TEST(LegacyMemoryTest, LearningASizeSaysSoWhenItNeedsALargerDictionaryThanItMayHave) {
  // Refers back farther than the dictionary that the limit allows.
  const std::string half = SomeNoise(60000);
  for (const Format format : {Format::kLzmaAlone, Format::kLzip}) {
    const MemFile file(format == Format::kLzip ? MakeLzipMember(half + half, 0)
                                               : MakeLzmaAlone(half + half, false));
    const Result<BlockIndex> refused =
        BlockIndex::Read(file, format, {.memory_limit_bytes = 230 * kKiB});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, EFBIG) << refused.error().message;
    EXPECT_TRUE(BlockIndex::Read(file, format, {.memory_limit_bytes = 400 * kKiB}));
    EXPECT_EQ(BlockIndex::Read(file, format, {.memory_limit_bytes = 100}).error().code, EFBIG);
  }
}

TEST(LzipTest, EveryMemberIsABlock) {
  std::string plain;
  std::string bytes;
  for (uint32_t i = 0; i < 50; ++i) {
    const std::string part = i % 7 == 0 ? "" : SomeText(i * 300, i);
    plain += part;
    bytes += MakeLzipMember(part);
  }
  ExpectDecodesTo(MemFile(bytes), Format::kLzip, plain, 50, 50);
}

TEST(LzipTest, OnlyHeadersAndTrailersAreReadWhenMembersAreConsistent) {
  std::string bytes;
  for (uint32_t i = 0; i < 10; ++i) {
    bytes += MakeLzipMember(SomeNoise(50000, i));
  }
  const MemFile file(bytes);
  ASSERT_TRUE(ReadIndex(file, Format::kLzip));
  EXPECT_EQ(file.accesses().size(), 11u);
}

TEST(LzipTest, Version0IsOneBlock) {
  const std::string a = SomeText(3000);
  const std::string b = SomeText(500, 2);
  const std::string v0 = MakeLzipMember(a, 0);
  const std::string v1 = MakeLzipMember(b, 1);
  ExpectDecodesTo(MemFile(v0), Format::kLzip, a, 1, 1);
  ExpectDecodesTo(MemFile(v0 + v1), Format::kLzip, a + b, 1, 2);
  ExpectDecodesTo(MemFile(v1 + v0), Format::kLzip, b + a, 1, 2);
  ExpectDecodesTo(MemFile(v1 + v0 + MakeLzipMember("")), Format::kLzip, b + a, 1, 3);
}

TEST(LzipTest, AStepMayEndWhereAMemberEnds) {
  const MemFile file(MakeLzipMember("abc", 0) + MakeLzipMember("", 0) + MakeLzipMember("defg", 0));
  const BlockIndex index = ReadIndex(file, Format::kLzip).value();
  const auto decoder = BlockDecoder::Open(file, index, index.Block(0), kTestMemoryLimit).value();
  std::string out(7, '\0');
  const std::span<std::byte> bytes = std::as_writable_bytes(std::span(out.data(), out.size()));
  EXPECT_TRUE(decoder->Decode(file, bytes.first(3)));
  EXPECT_TRUE(decoder->Decode(file, {}));
  EXPECT_TRUE(decoder->Decode(file, bytes.subspan(3)));
  EXPECT_EQ(out, "abcdefg");
}

TEST(LzipTest, TrailingDataThatLooksLikeATrailerIsIgnored) {
  // Ends like a chain of members with sizes that add up to more than any file has.
  std::string trailing;
  for (int i = 0; i < 3; ++i) {
    std::string member = MakeLzipMember("x");
    member.replace(member.size() - 16, 8, std::string(7, '\0') + '\x7F');
    trailing += member;
  }
  trailing[0] = 'l';
  const std::string plain = SomeText(400);
  ExpectDecodesTo(MemFile(MakeLzipMember(plain) + trailing), Format::kLzip, plain, 1, 1);
}

TEST(LzipTest, TrailingDataIsIgnored) {
  const std::string plain = SomeText(3000);
  const std::string good = MakeLzipMember(plain);
  for (const std::string& trailing : {std::string("x"), std::string("LZI"), std::string("LZIx"),
                                      std::string(100000, '\0'), SomeNoise(200000)}) {
    ExpectDecodesTo(MemFile(good + trailing), Format::kLzip, plain, 1, 1);
    ExpectDecodesTo(MemFile(good + good + trailing), Format::kLzip, plain + plain, 1, 2);
  }
}

TEST(LzipTest, DataThatGotShorterSinceTheIndexWasReadIsDamaged) {
  const std::string before = MakeLzipMember(SomeText(3000), 0);
  MemFile file(before);
  const Result<BlockIndex> index = ReadIndex(file, Format::kLzip);
  ASSERT_TRUE(index) << index.error().message;
  std::string after = MakeLzipMember("short", 0);
  after.resize(before.size(), 'x');
  file.set_content(after);
  EXPECT_EQ(DecodeBlock(file, *index, 0).error().code, EIO);
}

TEST(LzipTest, TrailingDataThatBeginsAsAMemberIsRefused) {
  const std::string good = MakeLzipMember("abc");
  for (const std::string trailing : {"LZIP", "LZIP\1", "LZIP\2\x10zzzzzzzzzzz"}) {
    EXPECT_FALSE(ReadIndex(MemFile(good + trailing), Format::kLzip)) << trailing;
  }
}

TEST(LzipTest, AMemberThatEndsBeforeItsTrailerIsRefused) {
  // The first member's trailer spans a whole member and what follows it.
  const std::string inner = MakeLzipMember("inner");
  std::string outer = inner + "garbage";
  outer += inner.substr(inner.size() - 20, 12);
  const uint64_t size = outer.size() + 8;
  for (int i = 0; i < 8; ++i) {
    outer.push_back(static_cast<char>(size >> (8 * i)));
  }
  const MemFile file(outer + MakeLzipMember("second"));
  const Result<BlockIndex> index = ReadIndex(file, Format::kLzip);
  ASSERT_TRUE(index) << index.error().message;
  ASSERT_EQ(index->block_count(), 2u) << "the case was made";
  EXPECT_EQ(DecodeBlock(file, *index, 0).error().code, EIO);
  EXPECT_EQ(DecodeBlock(file, *index, 1).value(), "second");
}

TEST(LzipTest, TruncationGivesThePrefixOfWholeMembersOrAnError) {
  const std::string first = SomeText(200);
  const std::string member = MakeLzipMember(first);
  const std::string good = member + MakeLzipMember(SomeText(100, 2));
  size_t readable = 0;
  for (size_t size = 0; size < good.size(); ++size) {
    const MemFile file(good.substr(0, size));
    const Result<BlockIndex> index = ReadIndex(file, Format::kLzip);
    if (index) {
      ++readable;
      EXPECT_EQ(DecodeAll(file, *index).value(), first) << size;
    }
  }
  EXPECT_EQ(readable, 4u) << "at the boundary and up to three bytes of the magic, as xz does";
}

}  // namespace
}  // namespace xzfs
