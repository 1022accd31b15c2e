// The Blocks that a scan finds in damaged and in hostile files.
#include "xz/block_scanner.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>

#include "base/fail.h"
#include "decode_util.h"
#include "support/mem_file.h"
#include "support/xz_builder.h"

namespace xzfs {
namespace {

using Kind = Landmark::Kind;
const std::atomic<bool> kNotCancelled{false};

Landmark At(const std::string& bytes, uint64_t offset, uint64_t memory = kTestMemoryLimit) {
  return LandmarkAt(MemFile(bytes), offset, memory);
}

Result<SalvagedBlock> Decode(const MemFile& file, const BlockPlace& place, std::string* plain,
                             uint64_t memory = kTestMemoryLimit) {
  return SalvageBlock(file, place, memory, [&](std::span<const std::byte> bytes) -> Status {
    plain->append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return {};
  });
}

TEST(BlockScannerTest, FindsEachPartAtItsOffset) {
  XzBuilder builder;
  builder.AddStream(SomeText(900), 300, kCheckSha256);
  const std::string& bytes = builder.bytes();
  const uint64_t index = builder.block_ends().back();
  EXPECT_EQ(At(bytes, 0).kind, Kind::kStreamHeader);
  EXPECT_EQ(At(bytes, 0).check, kCheckSha256);
  EXPECT_EQ(At(bytes, 0).end, 12u);
  for (const uint64_t offset : builder.block_offsets()) {
    EXPECT_EQ(At(bytes, offset).kind, Kind::kBlockHeader);
  }
  EXPECT_EQ(At(bytes, index).kind, Kind::kIndex);
  EXPECT_EQ(At(bytes, index).end, bytes.size() - 12);
  EXPECT_EQ(At(bytes, index).block_count, 3u);
  EXPECT_EQ(At(bytes, bytes.size() - 12).kind, Kind::kNothing);
  EXPECT_EQ(At(bytes, bytes.size()).kind, Kind::kNothing);
  EXPECT_EQ(At(bytes, UINT64_MAX).kind, Kind::kNothing);
  for (size_t size = index + 2; size < bytes.size() - 12; ++size) {
    const Landmark cut = At(bytes.substr(0, size), index);
    EXPECT_EQ(cut.kind, Kind::kDamagedIndex);
    EXPECT_EQ(cut.block_count, 3u);
  }
}

TEST(BlockScannerTest, AHeaderWithAFlippedBitIsNoLandmark) {
  XzBuilder builder;
  builder.AddStream(SomeText(100), 100, kCheckCrc64, {.sizes_in_header = true});
  const size_t block = builder.block_offsets()[0];
  const size_t header_bytes = (static_cast<size_t>(builder.bytes()[block]) + 1) * 4;
  for (size_t bit = 0; bit < (12 + header_bytes) * 8; ++bit) {
    std::string bytes = builder.bytes();
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    const Kind kind = At(bytes, bit / 8 < 12 ? 0 : block).kind;
    EXPECT_TRUE(kind == Kind::kNothing || kind == Kind::kDamagedIndex) << bit;
  }
}

TEST(BlockScannerTest, SearchFindsHeadersOnBothSidesOfItsWindows) {
  XzBuilder builder;
  builder.AddStream("some bytes", 100);
  const uint64_t block = builder.block_offsets()[0];
  for (uint64_t at = (64 << 10) - 40; at <= (64 << 10) + 4; at += 4) {
    const MemFile file(std::string(at, '\0') + builder.bytes().substr(block));
    const auto found = FindLandmark(file, 1, kNotCancelled);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->kind, Kind::kBlockHeader);
    EXPECT_EQ(found->offset, at);
  }
}

TEST(BlockScannerTest, SearchOfNoiseFindsNothingAndEnds) {
  const MemFile file(SomeNoise(300001) + std::string(70000, '\xFF'));
  const auto found = FindLandmark(file, 0, kNotCancelled);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->kind, Kind::kNothing);
  EXPECT_EQ(found->offset, file.size());
  const std::atomic<bool> cancelled{true};
  EXPECT_EQ(FindLandmark(file, 0, cancelled).error().code, ECANCELED);
}

TEST(BlockScannerTest, NothingIsFoundInAFileThatCantBeRead) {
  MemFile file(MakeXz("some bytes", 100));
  file.FailAfter(0, EIO);
  EXPECT_EQ(LandmarkAt(file, 0, kTestMemoryLimit).kind, Kind::kNothing);
  EXPECT_EQ(FindLandmark(file, 0, kNotCancelled)->kind, Kind::kNothing);
  std::string plain;
  EXPECT_TRUE(Decode(file, {.offset = 12, .check = kCheckCrc64}, &plain)->damage);
  EXPECT_EQ(plain, "");
}

TEST(BlockScannerTest, ACompleteBlockIsDecodedAndEndsWhereTheNextBegins) {
  XzBuilder builder;
  builder.AddStream(SomeText(3 << 20), 2 << 20, kCheckCrc32, {.sizes_in_header = true});
  const MemFile file(builder.bytes());
  std::string plain;
  const auto block = Decode(file, {.offset = 12, .check = kCheckCrc32}, &plain);
  ASSERT_TRUE(block);
  EXPECT_FALSE(block->damage);
  EXPECT_EQ(plain, builder.plain().substr(0, 2 << 20));
  EXPECT_EQ(block->end, builder.block_offsets()[1]);
  EXPECT_EQ(block->plain_size, plain.size());
  EXPECT_EQ(block->stored_bytes, block->end - 12);
}

TEST(BlockScannerTest, ABlockThatIsCutGivesABeginningAndDamage) {
  XzBuilder builder;
  builder.AddStream(SomeText(5000), 5000);
  const uint64_t end = builder.block_ends()[0];
  for (uint64_t size = 12; size < end; ++size) {
    const MemFile file(builder.bytes().substr(0, size));
    std::string plain;
    const auto block = Decode(file, {.offset = 12, .check = kCheckCrc64}, &plain);
    ASSERT_TRUE(block && block->damage) << size;
    EXPECT_EQ(plain, builder.plain().substr(0, plain.size()));
    EXPECT_EQ(block->plain_bytes, plain.size());
    EXPECT_LE(block->end, size);
  }
}

TEST(BlockScannerTest, ABlockThatContradictsTheIndexIsRefused) {
  XzBuilder builder;
  builder.AddStream(SomeText(500), 500);
  const MemFile file(builder.bytes());
  const BlockInfo info = ReadIndex(file)->Block(0);
  for (const int64_t more : {-4, -1, 0, 1, 4}) {
    std::string plain;
    const uint64_t size = info.plain_size + static_cast<uint64_t>(more);
    const uint64_t unpadded = info.unpadded_size + static_cast<uint64_t>(more);
    const BlockPlace wrong_plain = {.offset = 12, .check = info.check, .plain_size = size};
    EXPECT_EQ(Decode(file, wrong_plain, &plain)->damage.has_value(), more != 0) << more;
    const BlockPlace wrong_size = {.offset = 12, .check = info.check, .unpadded_size = unpadded};
    EXPECT_EQ(Decode(file, wrong_size, &plain)->damage.has_value(), more != 0) << more;
  }
}

TEST(BlockScannerTest, LyingHeadersAndIndexesAreBounded) {
  XzBuilder giant_dictionary;
  giant_dictionary.AddStream("x", 1, kCheckCrc64,
                             {.header_filters = "lzma2:preset=1,dict=1536MiB"});
  std::string plain;
  const auto block =
      Decode(MemFile(giant_dictionary.bytes()), {.offset = 12, .check = kCheckCrc64}, &plain);
  ASSERT_TRUE(block && block->damage);
  EXPECT_EQ(block->damage->code, EFBIG);

  XzBuilder claims;
  claims.BeginStream().AddBlock("x").EndStreamClaiming(uint64_t{1} << 40);
  EXPECT_EQ(At(claims.bytes(), claims.block_ends()[0], 1 << 20).kind, Kind::kDamagedIndex);

  XzBuilder lies;
  lies.AddStream("x", 1, kCheckCrc64,
                 {.sizes_in_header = true, .header_plain_size = uint64_t{1} << 60});
  const auto lying = Decode(MemFile(lies.bytes()), {.offset = 12, .check = kCheckCrc64}, &plain);
  ASSERT_TRUE(lying);
  EXPECT_TRUE(lying->damage);
  EXPECT_LE(lying->plain_bytes, 1u);
}

TEST(BlockScannerTest, AnErrorOfTheReceiverEndsTheScan) {
  const MemFile file(MakeXz("some bytes", 100));
  const auto block =
      SalvageBlock(file, {.offset = 12, .check = kCheckCrc64}, kTestMemoryLimit,
                   [](std::span<const std::byte>) -> Status { return Fail(ENOSPC, "full"); });
  ASSERT_FALSE(block);
  EXPECT_EQ(block.error().code, ENOSPC);
}

}  // namespace
}  // namespace xzfs
