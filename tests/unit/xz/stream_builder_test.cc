#include "xz/stream_builder.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <utility>

#include "decode_util.h"
#include "support/mem_file.h"
#include "support/xz_builder.h"

namespace xzfs {
namespace {

std::string Text(std::span<const std::byte> bytes) {
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

std::span<const std::byte> Bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

TEST(StreamBuilderTest, MakesTheFrameThatLiblzmaMakes) {
  for (const Check check : {kCheckNone, kCheckCrc32, kCheckCrc64, kCheckSha256}) {
    const std::string file = MakeXz(SomeText(50000) + SomeNoise(3000), 2000, check);
    const BlockIndex index = ReadIndex(MemFile(file)).value();
    StreamBuilder stream(check);
    EXPECT_EQ(Text(stream.Header()), file.substr(0, 12));
    for (uint64_t number = 0; number < index.block_count(); ++number) {
      const BlockInfo block = index.Block(number);
      EXPECT_EQ(stream.position(), block.compressed_offset);
      EXPECT_EQ(stream.plain_size(), block.plain_offset);
      ASSERT_TRUE(stream.Add(block.unpadded_size, block.plain_size));
    }
    EXPECT_EQ(stream.plain_size(), index.plain_size());
    EXPECT_EQ(Text(stream.Finish().value()), file.substr(stream.position()));
  }
}

TEST(StreamBuilderTest, AStreamWithoutBlocksIsAFile) {
  const StreamBuilder stream(kCheckCrc64);
  EXPECT_EQ(stream.position(), 12u);
  const std::string file = Text(stream.Header()) + Text(stream.Finish().value());
  EXPECT_EQ(file, XzBuilder().BeginStream().EndStream().bytes());
}

TEST(StreamBuilderTest, FinishChangesNothing) {
  StreamBuilder stream(kCheckCrc64);
  ASSERT_TRUE(stream.Add(1000, 5000));
  const std::vector<std::byte> first = stream.Finish().value();
  EXPECT_EQ(stream.Finish().value(), first);
  ASSERT_TRUE(stream.Add(1001, 5000));
  EXPECT_EQ(stream.position(), 12u + 1000u + 1004u);
  EXPECT_NE(stream.Finish().value(), first);
}

TEST(StreamBuilderTest, HundredsOfThousandsOfBlocksAreFine) {
  StreamBuilder stream(kCheckCrc64);
  for (uint64_t number = 0; number < 300000; ++number) {
    ASSERT_TRUE(stream.Add(40 + number % 7, number));
  }
  StreamBuilder moved = std::move(stream);
  std::string file = Text(moved.Header());
  file.resize(moved.position());
  file += Text(moved.Finish().value());
  const Result<BlockIndex> index = ReadIndex(MemFile(file));
  ASSERT_TRUE(index) << index.error().message;
  EXPECT_EQ(index->block_count(), 300000u);
  EXPECT_EQ(index->Block(299999).unpadded_size, 40u + 299999u % 7u);
  EXPECT_EQ(index->Block(299999).plain_size, 299999u);
}

TEST(StreamBuilderTest, ImpossibleBlockSizesAreRefusedAndForgotten) {
  StreamBuilder stream(kCheckCrc64);
  const std::vector<std::byte> empty = stream.Finish().value();
  for (const auto& [unpadded_size, plain_size] :
       {std::pair<uint64_t, uint64_t>{0, 1}, {4, 1}, {UINT64_MAX, 1}, {100, UINT64_MAX}}) {
    const Status status = stream.Add(unpadded_size, plain_size);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, EINVAL);
  }
  EXPECT_EQ(stream.Finish().value(), empty);
}

TEST(StreamBuilderTest, AStreamThatGetsTooLargeIsRefused) {
  StreamBuilder stream(kCheckCrc64);
  ASSERT_TRUE(stream.Add(uint64_t{1} << 62, 1));
  const uint64_t before = stream.position();
  const Status status = stream.Add(uint64_t{1} << 62, 1);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, EFBIG);
  EXPECT_EQ(stream.position(), before);
}

TEST(Crc64Test, IsTheOneOfXzAndGoesOn) {
  EXPECT_EQ(Crc64(Bytes("123456789")), 0x995DC9BBDF1939FAu);
  EXPECT_EQ(Crc64(Bytes("6789"), Crc64(Bytes("12345"))), 0x995DC9BBDF1939FAu);
  EXPECT_EQ(Crc64({}, 7), 7u);
}

}  // namespace
}  // namespace xzfs
