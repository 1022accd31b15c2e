#include "xz/block_decoder.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <string>

#include "decode_util.h"
#include "support/mem_file.h"
#include "support/xz_builder.h"

namespace xzfs {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

// A file with its index, for tests of one Block.
struct Stored {
  explicit Stored(const std::string& bytes) : file(bytes), index(*ReadIndex(file)) {
    file.Forget();
  }
  Result<std::unique_ptr<BlockDecoder>> Open(uint64_t number,
                                             uint64_t limit = kTestMemoryLimit) const {
    return BlockDecoder::Open(file, index, index.Block(number), limit);
  }
  MemFile file;
  BlockIndex index;
};

Status Decode(BlockDecoder* decoder, const MemFile& file, std::string* out) {
  return decoder->Decode(file, std::as_writable_bytes(std::span(out->data(), out->size())));
}

TEST(BlockDecoderTest, StopsAnywhereAndGoesOn) {
  const std::string plain = SomeText(30000);
  const Stored stored(MakeXz(plain, plain.size()));
  for (const size_t stop : {size_t{1}, size_t{4096}, size_t{29999}, size_t{30000}}) {
    const auto decoder = stored.Open(0).value();
    EXPECT_EQ(decoder->position(), 0u);
    std::string first(stop, '\0');
    ASSERT_TRUE(Decode(decoder.get(), stored.file, &first));
    EXPECT_EQ(decoder->position(), stop);
    std::string rest(plain.size() - stop, '\0');
    ASSERT_TRUE(Decode(decoder.get(), stored.file, &rest));
    EXPECT_EQ(decoder->position(), plain.size());
    EXPECT_TRUE(first + rest == plain);
  }
}

TEST(BlockDecoderTest, AnEmptyStepAtTheEndIsAllowedAgainAndAgain) {
  const Stored stored(XzBuilder().BeginStream().AddBlock("").AddBlock("ab").EndStream().bytes());
  for (const uint64_t number : {0u, 1u}) {
    const auto decoder = stored.Open(number).value();
    std::string out(stored.index.Block(number).plain_size, '\0');
    EXPECT_TRUE(decoder->Decode(stored.file, {}));
    EXPECT_TRUE(Decode(decoder.get(), stored.file, &out));
    EXPECT_TRUE(decoder->Decode(stored.file, {}));
    EXPECT_TRUE(decoder->Decode(stored.file, {}));
    EXPECT_EQ(decoder->position(), out.size());
  }
}

TEST(BlockDecoderTest, ReadsOnlyTheBlockAndEachByteOnce) {
  const Stored stored(MakeXz(SomeNoise(900000), 300000));
  const BlockInfo block = stored.index.Block(1);
  ASSERT_TRUE(DecodeBlock(stored.file, stored.index, 1));
  uint64_t next = block.compressed_offset;
  for (const MemFile::Access& access : stored.file.accesses()) {
    EXPECT_EQ(access.offset, next);
    EXPECT_LE(access.size, uint64_t{128} << 10);
    next = access.end();
  }
  EXPECT_EQ(next, stored.index.Block(2).compressed_offset);
  EXPECT_EQ(stored.file.accesses().size(), 3u);
}

TEST(BlockDecoderTest, ASmallBlockIsReadAtOnce) {
  const Stored stored(MakeXz(SomeText(5000), 1000));
  ASSERT_TRUE(DecodeBlock(stored.file, stored.index, 2));
  EXPECT_EQ(stored.file.accesses().size(), 1u);
}

TEST(BlockDecoderTest, ACheckThatIsWrongShowsInTheStepThatEndsTheBlock) {
  for (const Check check : {kCheckCrc32, kCheckCrc64, kCheckSha256}) {
    XzBuilder builder;
    builder.AddStream(SomeText(2000), 1000, check);
    std::string bytes = builder.bytes();
    bytes[builder.block_ends()[0] - 1] ^= 1;
    const Stored stored(bytes);
    const auto decoder = stored.Open(0).value();
    std::string most(999, '\0');
    EXPECT_TRUE(Decode(decoder.get(), stored.file, &most));
    std::string last(1, '\0');
    const Status status = Decode(decoder.get(), stored.file, &last);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, EIO);
    EXPECT_FALSE(decoder->Decode(stored.file, {})) << "it stays failed";
    EXPECT_TRUE(DecodeBlock(stored.file, stored.index, 1)) << "the other Block is readable";
  }
}

TEST(BlockDecoderTest, AnUnsupportedCheckIsDecodedButNotVerified) {
  const std::string plain = SomeText(3000);
  XzBuilder builder;
  builder.AddStream(plain, 1000, Check{5});
  const Stored stored(builder.bytes());
  EXPECT_EQ(stored.index.Block(0).check, Check{5});
  const Result<std::string> decoded = DecodeAll(stored.file, stored.index);
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(*decoded, plain);
}

TEST(BlockDecoderTest, PassesOnTheErrorsOfTheFile) {
  Stored stored(MakeXz(SomeNoise(300000), 300000));
  stored.file.FailAfter(0, ESTALE);
  EXPECT_EQ(stored.Open(0).error().code, ESTALE);
  EXPECT_EQ(BlockDecoderMemory(stored.file, stored.index, stored.index.Block(0)).error().code,
            ESTALE);
  stored.file.FailAfter(2, ENOMEM);
  EXPECT_EQ(DecodeBlock(stored.file, stored.index, 0).error().code, ENOMEM);
  EXPECT_EQ(stored.file.failures(), 1u);
}

TEST(BlockDecoderTest, AFileThatWasTruncatedLaterIsDamaged) {
  Stored stored(MakeXz(SomeNoise(300000), 300000));
  stored.file.set_content(stored.file.content().substr(0, 200000));
  const Result<std::string> decoded = DecodeBlock(stored.file, stored.index, 0);
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().code, EIO);
}

// Decodes a Block whose Record was changed; its neighbour must stay readable.
void ExpectRefused(const XzBuilder::Block& lie, const std::string& plain) {
  XzBuilder builder;
  builder.BeginStream().AddBlock(plain, lie).AddBlock("neighbour").EndStream();
  const MemFile file(builder.bytes());
  const Result<BlockIndex> index = ReadIndex(file);
  ASSERT_TRUE(index) << index.error().message;
  const Result<std::string> decoded = DecodeBlock(file, *index, 0);
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().code, EIO);
  EXPECT_EQ(DecodeBlock(file, *index, 1).value(), "neighbour");
}

TEST(LyingIndexTest, MorePlainBytesThanTheBlockHasAreRefused) {
  const std::string plain = SomeText(1000);
  for (const bool in_header : {false, true}) {
    for (const char* chain : {"lzma2:preset=0", "x86 lzma2:preset=0", "delta lzma2:preset=0"}) {
      for (const uint64_t claimed : {uint64_t{1001}, uint64_t{70000}, uint64_t{1} << 60}) {
        ExpectRefused(
            {.filters = chain, .sizes_in_header = in_header, .recorded_plain_size = claimed},
            plain);
      }
    }
  }
}

TEST(LyingIndexTest, FewerPlainBytesThanTheBlockHasAreRefused) {
  const std::string plain = SomeText(1000);
  for (const bool in_header : {false, true}) {
    for (const char* chain : {"lzma2:preset=0", "x86 lzma2:preset=0", "delta lzma2:preset=0"}) {
      for (const uint64_t claimed : {0u, 1u, 500u, 999u}) {
        ExpectRefused(
            {.filters = chain, .sizes_in_header = in_header, .recorded_plain_size = claimed},
            plain);
      }
    }
  }
  ExpectRefused({.recorded_plain_size = 1}, "");
}

TEST(LyingIndexTest, ABlockHeaderThatDoesNotAgreeIsRefusedEvenIfTheIndexIsRight) {
  ExpectRefused({.header_plain_size = 999}, SomeText(1000));
  ExpectRefused({.header_plain_size = 1001}, SomeText(1000));
}

TEST(LyingIndexTest, WrongCompressedSizesAreRefused) {
  XzBuilder honest;
  honest.BeginStream().AddBlock(SomeText(1000)).EndStream();
  const uint64_t unpadded = ReadIndex(MemFile(honest.bytes()))->Block(0).unpadded_size;
  // Only sizes with the same padded size leave the neighbour where the Index says.
  size_t lies = 0;
  for (uint64_t claimed = unpadded - 3; claimed <= unpadded + 3; ++claimed) {
    if (claimed != unpadded && (claimed + 3) / 4 == (unpadded + 3) / 4) {
      ExpectRefused({.recorded_unpadded_size = claimed}, SomeText(1000));
      ++lies;
    }
  }
  EXPECT_EQ(lies, 3u);
}

TEST(LyingIndexTest, ABoundaryThatIsShiftedDamagesOnlyTheBlocksBesideIt) {
  XzBuilder builder;
  builder.BeginStream();
  for (uint32_t i = 0; i < 4; ++i) {
    builder.AddBlock(SomeText(400, i));
  }
  builder.EndStream();
  const BlockIndex truth = *ReadIndex(MemFile(builder.bytes()));
  XzBuilder lying;
  lying.BeginStream();
  for (uint32_t i = 0; i < 4; ++i) {
    const uint64_t shift = i == 1 ? 8 : i == 2 ? static_cast<uint64_t>(-8) : 0;
    lying.AddBlock(SomeText(400, i),
                   {.recorded_unpadded_size = truth.Block(i).unpadded_size + shift});
  }
  const MemFile file(lying.EndStream().bytes());
  const Result<BlockIndex> index = ReadIndex(file);
  ASSERT_TRUE(index) << index.error().message;
  EXPECT_EQ(DecodeBlock(file, *index, 0).value(), SomeText(400, 0));
  EXPECT_FALSE(DecodeBlock(file, *index, 1));
  EXPECT_FALSE(DecodeBlock(file, *index, 2));
  EXPECT_EQ(DecodeBlock(file, *index, 3).value(), SomeText(400, 3));
}

TEST(DictionaryTest, IsNoLargerThanTheBlockWhateverTheHeaderAsksFor) {
  const std::string plain = SomeText(5000);
  XzBuilder builder;
  builder.BeginStream()
      .AddBlock(plain, {.header_filters = "lzma2:dict=1536MiB"})
      .AddBlock(plain, {.header_filters = "lzma2:dict=4KiB"})
      .EndStream();
  const Stored stored(builder.bytes());
  EXPECT_EQ(DescribeFilters(stored.file, stored.index, stored.index.Block(0)).value(),
            "lzma2:dict=1536MiB")
      << "the case was made";
  const uint64_t needed =
      BlockDecoderMemory(stored.file, stored.index, stored.index.Block(0)).value();
  EXPECT_LT(needed, 128u << 10) << "most of it for the states of two decoders";
  EXPECT_EQ(DecodeBlock(stored.file, stored.index, 0).value(), plain);
}

TEST(DictionaryTest, OneAsLargeAsTheBlockReachesItsFirstByte) {
  // The second half repeats the first: all of its matches reach as far back as can be.
  const std::string half = SomeNoise(100000);
  XzBuilder builder;
  builder.BeginStream()
      .AddBlock(half + half, {.filters = "lzma2:preset=1,dict=1MiB"})
      .AddBlock("x" + half + half + "y", {.filters = "delta:dist=7 lzma2:preset=1,dict=1MiB"})
      .EndStream();
  const Stored stored(builder.bytes());
  ASSERT_LT(stored.index.Block(0).unpadded_size, 110000u) << "the case was made";
  EXPECT_TRUE(DecodeAll(stored.file, stored.index).value() == builder.plain());
}

TEST(MemoryLimitTest, IsEnforcedExactlyAtTheSizeThatTheDecoderReports) {
  for (const char* chain : {"lzma2:preset=0,dict=256KiB", "x86 lzma2:preset=0,dict=256KiB"}) {
    XzBuilder builder;
    builder.AddStream(SomeNoise(300000), 300000, kCheckCrc64, {.filters = chain});
    const Stored stored(builder.bytes());
    const uint64_t bound =
        BlockDecoderMemory(stored.file, stored.index, stored.index.Block(0)).value();
    EXPECT_GT(bound, kMiB / 4);
    EXPECT_LT(bound, kMiB / 2);
    const auto decoder = stored.Open(0, bound);
    ASSERT_TRUE(decoder) << decoder.error().message;
    std::byte first;
    ASSERT_TRUE((*decoder)->Decode(stored.file, {&first, 1}));
    const uint64_t held = (*decoder)->memory_bytes();
    EXPECT_LE(held, bound);
    EXPECT_TRUE(stored.Open(0, held));
    const auto refused = stored.Open(0, held - 1);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, EFBIG);
    EXPECT_NE(refused.error().message.find("memory limit"), std::string::npos);
    EXPECT_EQ(stored.Open(0, 0).error().code, EFBIG);
  }
}

TEST(MemoryLimitTest, AClaimedSizeOfPebibytesDoesNotMakeTheDictionaryLarge) {
  XzBuilder builder;
  builder.BeginStream()
      .AddBlock("abc",
                {.header_filters = "lzma2:dict=1536MiB", .recorded_plain_size = uint64_t{1} << 50})
      .EndStream();
  const Stored stored(builder.bytes());
  const auto refused = stored.Open(0, 64 * kMiB);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, EFBIG);
}

TEST(DescribeFiltersTest, WritesTheChainAsXzDoes) {
  XzBuilder builder;
  builder.BeginStream()
      .AddBlock("a", {.filters = "lzma2:dict=8MiB"})
      .AddBlock("b", {.filters = "delta:dist=4 lzma2:dict=64KiB"})
      .AddBlock("c", {.filters = "x86 lzma2:dict=1MiB"})
      .EndStream();
  const Stored stored(builder.bytes());
  const auto describe = [&](uint64_t number) {
    return DescribeFilters(stored.file, stored.index, stored.index.Block(number)).value();
  };
  EXPECT_EQ(describe(0), "lzma2:dict=8MiB");
  EXPECT_EQ(describe(1), "delta:dist=4 lzma2:dict=64KiB");
  EXPECT_EQ(describe(2), "x86 lzma2:dict=1MiB");
}

}  // namespace
}  // namespace xzfs
