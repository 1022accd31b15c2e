#include "xzfs/block_index.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <vector>

#include "decode_util.h"
#include "support/mem_file.h"
#include "support/xz_builder.h"

namespace xzfs {
namespace {

// The error's code, or 0, and the message in failures.
testing::AssertionResult FailsWith(const Result<BlockIndex>& index, int code,
                                   const std::string& words) {
  if (index) {
    return testing::AssertionFailure() << "it was read";
  }
  if (index.error().code != code || index.error().message.find(words) == std::string::npos) {
    return testing::AssertionFailure() << index.error().code << " " << index.error().message;
  }
  return testing::AssertionSuccess();
}

// A file with Blocks that only its Index claims, as long as the Index says. It has `content_bytes`
// of zeros in their place.
std::string OnlyAnIndex(size_t records, size_t content_bytes) {
  XzBuilder builder;
  builder.BeginStream();
  builder.AddPadding(content_bytes);
  for (size_t i = 0; i < records; ++i) {
    builder.AddRecordOnly(content_bytes / records, 1000);
  }
  return builder.EndStream().bytes();
}

TEST(BlockIndexTest, DescribesBlocksOfManyStreams) {
  XzBuilder builder;
  builder.AddStream(SomeText(2500), 1000, kCheckCrc32).AddPadding(4);
  builder.BeginStream(kCheckNone).EndStream();
  builder.AddStream(SomeText(700), 500, kCheckSha256);
  const Result<BlockIndex> index = ReadIndex(MemFile(builder.bytes()));
  ASSERT_TRUE(index) << index.error().message;
  EXPECT_EQ(index->format(), Format::kXz);
  EXPECT_EQ(index->plain_size(), 3200u);
  EXPECT_EQ(index->stream_count(), 3u);
  EXPECT_EQ(index->largest_block(), 1000u);
  ASSERT_EQ(index->block_count(), 5u);
  const uint64_t sizes[] = {1000, 1000, 500, 500, 200};
  const Check checks[] = {kCheckCrc32, kCheckCrc32, kCheckCrc32, kCheckSha256, kCheckSha256};
  uint64_t plain_offset = 0;
  for (uint64_t i = 0; i < 5; ++i) {
    const BlockInfo block = index->Block(i);
    EXPECT_EQ(block.number, i);
    EXPECT_EQ(block.plain_offset, plain_offset);
    EXPECT_EQ(block.plain_size, sizes[i]);
    EXPECT_EQ(block.compressed_offset, builder.block_offsets()[i]);
    EXPECT_EQ((block.compressed_offset + block.unpadded_size + 3) / 4 * 4, builder.block_ends()[i]);
    EXPECT_EQ(block.check, checks[i]);
    plain_offset += sizes[i];
  }
}

TEST(BlockIndexTest, FindSkipsEmptyBlocks) {
  XzBuilder builder;
  builder.BeginStream().AddBlock("").AddBlock("abc").AddBlock("").AddBlock("").AddBlock("de");
  builder.AddBlock("").EndStream();
  const Result<BlockIndex> index = ReadIndex(MemFile(builder.bytes()));
  ASSERT_TRUE(index) << index.error().message;
  ASSERT_EQ(index->block_count(), 6u);
  const uint64_t holders[] = {1, 1, 1, 4, 4};
  for (uint64_t offset = 0; offset < 5; ++offset) {
    EXPECT_EQ(index->Find(offset).number, holders[offset]) << offset;
  }
}

TEST(BlockIndexTest, AFileOfEmptyStreamsIsEmpty) {
  XzBuilder builder;
  for (int i = 0; i < 1000; ++i) {
    builder.BeginStream().EndStream().AddPadding(i % 3 == 0 ? 4 : 0);
  }
  const Result<BlockIndex> index = ReadIndex(MemFile(builder.bytes()));
  ASSERT_TRUE(index) << index.error().message;
  EXPECT_EQ(index->plain_size(), 0u);
  EXPECT_EQ(index->block_count(), 0u);
  EXPECT_EQ(index->stream_count(), 1000u);
  EXPECT_EQ(index->memory_bytes(), sizeof(BlockIndex)) << "nothing is kept for them";
}

TEST(BlockIndexAccessTest, AFileThatFitsIntoTheWindowIsReadOnce) {
  const MemFile file(MakeXz(SomeText(3000), 1000));
  ASSERT_LE(file.size(), 4096u);
  ASSERT_TRUE(ReadIndex(file));
  EXPECT_EQ(file.accesses(), (std::vector<MemFile::Access>{{0, file.size()}}));
}

TEST(BlockIndexAccessTest, AnIndexInTheTailWindowTakesTwoReads) {
  const MemFile file(MakeXz(SomeNoise(300000), 10000));
  ASSERT_TRUE(ReadIndex(file));
  const std::vector<MemFile::Access> expected = {{file.size() - 4096, 4096}, {0, 12}};
  EXPECT_EQ(file.accesses(), expected);
}

TEST(BlockIndexAccessTest, AnIndexOutsideTheTailWindowTakesThreeReads) {
  const MemFile file(OnlyAnIndex(100000, 800000));
  const Result<BlockIndex> index = ReadIndex(file);
  ASSERT_TRUE(index) << index.error().message;
  EXPECT_EQ(index->block_count(), 100000u);
  const std::vector<MemFile::Access> accesses = file.accesses();
  ASSERT_EQ(accesses.size(), 3u);
  EXPECT_EQ(accesses[0], (MemFile::Access{file.size() - 4096, 4096}));
  EXPECT_EQ(accesses[1].offset, 12u + 800000u);
  EXPECT_EQ(accesses[1].end(), accesses[0].offset) << "no byte is read twice";
  EXPECT_EQ(accesses[2], (MemFile::Access{0, 12}));
}

TEST(BlockIndexAccessTest, TheWindowGrowsWithTheFileButNotBeyondItsLimit) {
  const MemFile file(OnlyAnIndex(1, 64 << 20));
  ASSERT_TRUE(ReadIndex(file));
  EXPECT_EQ(file.accesses()[0].size, file.size() / 1024);
}

TEST(BlockIndexAccessTest, ManyTinyStreamsAreReadThroughTheWindow) {
  XzBuilder builder;
  for (int i = 0; i < 20000; ++i) {
    builder.BeginStream(i % 2 == 0 ? kCheckCrc32 : kCheckNone).AddBlock("x").EndStream();
  }
  const MemFile file(builder.bytes());
  const Result<BlockIndex> index = ReadIndex(file);
  ASSERT_TRUE(index) << index.error().message;
  EXPECT_EQ(index->block_count(), 20000u);
  EXPECT_EQ(index->plain_size(), 20000u);
  EXPECT_EQ(index->Block(7).check, kCheckNone);
  EXPECT_EQ(index->Block(8).check, kCheckCrc32);
  // Windows of 4, 8 ... 128 KiB, then of 256.
  EXPECT_LE(file.accesses().size(), 7 + file.size() / (256 << 10));
}

TEST(BlockIndexAccessTest, LargeStreamsCostOneSmallReadEach) {
  XzBuilder builder;
  constexpr uint64_t kStreams = 10;
  for (uint32_t i = 0; i < kStreams; ++i) {
    builder.AddStream(SomeNoise(100000, i), 30000);
  }
  const MemFile file(builder.bytes());
  ASSERT_TRUE(ReadIndex(file));
  uint64_t bytes = 0;
  for (const MemFile::Access& access : file.accesses()) {
    bytes += access.size;
  }
  EXPECT_EQ(file.accesses().size(), kStreams + 1);
  EXPECT_LE(bytes, (kStreams + 1) * 4096);
}

TEST(BlockIndexTest, AnyAmountOfPaddingUpToALimit) {
  XzBuilder builder;
  builder.AddStream("content", 100);
  const std::string stream = builder.bytes();
  for (const size_t padding : {4u, 8u, 4096u, 4092u, 20000u, 3u << 20}) {
    const Result<BlockIndex> index =
        ReadIndex(MemFile(stream + std::string(padding, '\0') + stream));
    ASSERT_TRUE(index) << index.error().message;
    EXPECT_EQ(index->block_count(), 2u);
  }
  for (const size_t padding : {1u, 2u, 3u, 5u}) {
    EXPECT_FALSE(ReadIndex(MemFile(stream + std::string(padding, '\0') + stream))) << padding;
    EXPECT_FALSE(ReadIndex(MemFile(stream + std::string(padding, '\0')))) << padding;
  }
  EXPECT_FALSE(ReadIndex(MemFile(std::string(4, '\0') + stream)));
  EXPECT_FALSE(ReadIndex(MemFile(std::string(400, '\0'))));
}

// Zeros without end, then nothing.
class ZeroFile : public RandomAccessFile {
 public:
  Result<size_t> ReadAt(uint64_t, std::span<std::byte> out) const override {
    std::fill(out.begin(), out.end(), std::byte{0});
    bytes_read_ += out.size();
    return out.size();
  }
  uint64_t size() const override { return uint64_t{1} << 50; }
  uint64_t bytes_read() const { return bytes_read_; }

 private:
  mutable uint64_t bytes_read_ = 0;
};

TEST(BlockIndexTest, PaddingIsBoundedByItsLimitNotByTheFile) {
  const ZeroFile file;
  EXPECT_TRUE(FailsWith(ReadIndex(file), EFBIG, "more than 1 GiB of Stream Padding"));
  EXPECT_LE(file.bytes_read(), (uint64_t{1} << 30) + (1 << 20));
}

TEST(BlockIndexTest, RejectsRecordsWhoseSumOverflows) {
  constexpr uint64_t kHuge = uint64_t{1} << 62;
  XzBuilder one;
  one.BeginStream().AddBlock("a", {.recorded_plain_size = kHuge});
  const std::string stream = one.EndStream().bytes();
  const Result<BlockIndex> alone = ReadIndex(MemFile(stream));
  ASSERT_TRUE(alone) << alone.error().message;
  EXPECT_EQ(alone->plain_size(), kHuge) << "alone it is only a lie";
  EXPECT_TRUE(FailsWith(ReadIndex(MemFile(stream + stream)), EIO, "add up"));
}

TEST(BlockIndexTest, RejectsBlocksThatWouldBeginBeforeTheFile) {
  XzBuilder builder;
  builder.BeginStream().AddBlock("abc").AddRecordOnly(1 << 20, 3).EndStream();
  EXPECT_TRUE(FailsWith(ReadIndex(MemFile(builder.bytes())), EIO, "Blocks would begin before"));
}

TEST(BlockIndexTest, RejectsBlocksThatAreNotAllOfTheStream) {
  XzBuilder builder;
  builder.BeginStream().AddBlock(SomeText(500)).AddPadding(64).EndStream();
  EXPECT_TRUE(FailsWith(ReadIndex(MemFile(builder.bytes())), EIO, "no Stream Header"));
}

TEST(BlockIndexTest, RejectsAnIndexThatDoesNotFillItsPlace) {
  for (const size_t slack : {4u, 8u, 8192u}) {
    XzBuilder builder;
    builder.BeginStream().AddBlock("abc").EndStream(slack);
    EXPECT_TRUE(FailsWith(ReadIndex(MemFile(builder.bytes())), EIO, "Index is shorter")) << slack;
  }
}

TEST(BlockIndexTest, SaysWhatIsDamaged) {
  const std::string good = MakeXz(SomeText(2000), 500);
  const auto with = [&](size_t from_end, char flip) {
    std::string bad = good;
    bad[bad.size() - from_end] = static_cast<char>(bad[bad.size() - from_end] ^ flip);
    return ReadIndex(MemFile(bad));
  };
  EXPECT_TRUE(FailsWith(with(1, 1), EIO, "truncated or something was appended"));
  EXPECT_TRUE(FailsWith(with(12, 1), EIO, "Stream Footer's CRC32"));
  EXPECT_TRUE(FailsWith(with(8, 1), EIO, "Stream Footer's CRC32"));
  EXPECT_TRUE(FailsWith(with(13, 1), EIO, "Index or its CRC32"));
  EXPECT_TRUE(FailsWith(with(good.size(), 1), EIO, "no Stream Header"));
  EXPECT_TRUE(FailsWith(with(good.size() - 9, 1), EIO, "Stream Header's CRC32"));
  EXPECT_TRUE(FailsWith(ReadIndex(MemFile("")), EIO, "truncated"));
  EXPECT_TRUE(FailsWith(ReadIndex(MemFile(good + "x")), EIO, "not a multiple of 4"));
}

TEST(BlockIndexTest, RejectsAHeaderThatDoesNotMatchItsFooter) {
  XzBuilder crc32;
  crc32.BeginStream(kCheckCrc32);
  std::string bytes = MakeXz("abc", 10, kCheckCrc64);
  bytes.replace(0, 12, crc32.bytes());
  EXPECT_TRUE(FailsWith(ReadIndex(MemFile(bytes)), EIO, "do not agree"));
}

TEST(BlockIndexTest, EveryTruncationOfOneStreamIsRefused) {
  const std::string good = MakeXz(SomeText(1500), 400);
  ASSERT_TRUE(ReadIndex(MemFile(good)));
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_TRUE(FailsWith(ReadIndex(MemFile(good.substr(0, size))), EIO, "")) << size;
    EXPECT_FALSE(ReadIndex(MemFile(good.substr(good.size() - size)))) << size;
  }
}

TEST(BlockIndexTest, ATruncationBetweenStreamsLeavesAWholeFile) {
  const std::string stream = MakeXz(SomeText(300), 400);
  const std::string good = stream + std::string(8, '\0') + stream;
  size_t whole = 0;
  for (size_t size = 0; size < good.size(); ++size) {
    const Result<BlockIndex> index = ReadIndex(MemFile(good.substr(0, size)));
    if (index) {
      ++whole;
      EXPECT_EQ(index->plain_size(), 300u);
      EXPECT_TRUE(size == stream.size() || size == stream.size() + 4 || size == stream.size() + 8);
    }
  }
  EXPECT_EQ(whole, 3u);
}

TEST(BlockIndexLimitTest, TooManyBlocksForTheMemoryLimitAreRefusedBeforeTheyAreKept) {
  const MemFile file(OnlyAnIndex(100000, 800000));
  for (const uint64_t limit : {uint64_t{0}, uint64_t{1} << 14, uint64_t{1} << 20, uint64_t{2} << 20,
                               uint64_t{3} << 20, uint64_t{39} * 100000}) {
    EXPECT_TRUE(FailsWith(BlockIndex::Read(file, Format::kXz, {.memory_limit_bytes = limit}), EFBIG,
                          "raise the limit"))
        << limit;
  }
  const Result<BlockIndex> index =
      BlockIndex::Read(file, Format::kXz, {.memory_limit_bytes = 45 * 100000});
  ASSERT_TRUE(index) << index.error().message;
  EXPECT_LE(index->memory_bytes(), 24 * 100000 + 200);
}

TEST(BlockIndexLimitTest, BlocksOfManyStreamsCountTogether) {
  XzBuilder builder;
  for (int i = 0; i < 3000; ++i) {
    builder.BeginStream().AddBlock("x").EndStream();
  }
  const MemFile file(builder.bytes());
  EXPECT_TRUE(FailsWith(BlockIndex::Read(file, Format::kXz, {.memory_limit_bytes = 50000}), EFBIG,
                        "raise the limit"));
  const Result<BlockIndex> index =
      BlockIndex::Read(file, Format::kXz, {.memory_limit_bytes = 400000});
  ASSERT_TRUE(index) << index.error().message;
  EXPECT_EQ(index->block_count(), 3000u);
  EXPECT_LE(index->memory_bytes(), 27 * 3000u + 200) << "what it grew too far was given back";
}

TEST(BlockIndexLimitTest, ACountOfRecordsThatIsALieIsNotBelieved) {
  XzBuilder many;
  many.BeginStream().AddBlock("abc").EndStreamClaiming(uint64_t{1} << 40);
  for (const uint64_t limit : {uint64_t{1} << 20, UINT64_MAX}) {
    EXPECT_TRUE(FailsWith(
        BlockIndex::Read(MemFile(many.bytes()), Format::kXz, {.memory_limit_bytes = limit}), EIO,
        "fit"));
  }
  XzBuilder some;
  some.BeginStream().AddBlock("abc").EndStreamClaiming(1000);
  EXPECT_TRUE(FailsWith(ReadIndex(MemFile(some.bytes())), EIO, "Index"));
}

TEST(BlockIndexTest, PassesOnTheErrorsOfTheFile) {
  MemFile file(OnlyAnIndex(100000, 800000));
  for (size_t reads = 0; reads < 3; ++reads) {
    file.FailAfter(reads, ESTALE);
    EXPECT_TRUE(FailsWith(ReadIndex(file), ESTALE, "")) << reads;
    EXPECT_EQ(file.failures(), 1u) << "no read after one that failed";
  }
  file.FailAfter(3, ESTALE);
  EXPECT_TRUE(ReadIndex(file));
}

}  // namespace
}  // namespace xzfs
