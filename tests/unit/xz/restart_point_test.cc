// Restart points of a BlockDecoder.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "decode_util.h"
#include "support/mem_file.h"
#include "support/xz_builder.h"
#include "xz/block_decoder.h"

namespace xzfs {
namespace {

struct Point {
  DecoderMark mark;
  std::vector<std::byte> history;
};

Point Save(BlockDecoder& decoder) {
  Point point = {decoder.Mark(), {}};
  for (const std::span<const std::byte> piece : decoder.history()) {
    point.history.insert(point.history.end(), piece.begin(), piece.end());
  }
  return point;
}

void Restore(BlockDecoder& decoder, const Point& point) {
  const std::span<std::byte> history = decoder.Restore(point.mark);
  ASSERT_EQ(history.size(), point.history.size());
  std::copy(point.history.begin(), point.history.end(), history.begin());
}

Status Decode(BlockDecoder& decoder, const MemFile& file, std::string& out) {
  return decoder.Decode(file, std::as_writable_bytes(std::span(out)));
}

struct Stored {
  explicit Stored(const std::string& bytes) : file(bytes), index(*ReadIndex(file)) {}
  std::unique_ptr<BlockDecoder> Open() const {
    return BlockDecoder::Open(file, index, index.Block(0), kTestMemoryLimit).value();
  }
  MemFile file;
  BlockIndex index;
};

class RestartPointTest : public testing::TestWithParam<std::tuple<const char*, Check>> {};

// Points at random positions, also at the start and the end. The test restores them in random
// order, takes random steps from each, and frees the memory in between.
TEST_P(RestartPointTest, DecodingGoesOnFromAnyOfThemAndTheCheckHolds) {
  const auto& [filters, check] = GetParam();
  const std::string plain = SomeText(400000);
  XzBuilder builder;
  builder.AddStream(plain, plain.size(), check, {.filters = filters});
  const Stored stored(builder.bytes());
  const auto decoder = stored.Open();
  std::mt19937 random(7);
  std::vector<Point> points;
  while (decoder->position() < plain.size()) {
    if (points.empty() || random() % 8 == 0) {
      points.push_back(Save(*decoder));
    }
    std::string out(std::min<size_t>(RandomStep(&random), plain.size() - decoder->position()), 0);
    ASSERT_TRUE(Decode(*decoder, stored.file, out));
  }
  points.push_back(Save(*decoder));
  ASSERT_GT(points.size(), 8u);
  for (int i = 0; i < 60; ++i) {
    const Point& point = points[random() % points.size()];
    if (i % 3 == 0) {
      decoder->FreeMemory();
    }
    Restore(*decoder, point);
    ASSERT_EQ(decoder->position(), point.mark.position);
    const uint64_t left = plain.size() - decoder->position();
    const bool to_the_end = i % 4 == 0;
    std::string out(to_the_end ? left : random() % (left + 1), 0);
    const Status status = Decode(*decoder, stored.file, out);
    ASSERT_TRUE(status) << status.error().message;
    ASSERT_TRUE(out == plain.substr(point.mark.position, out.size()));
    ASSERT_EQ(decoder->TakeVerdict(), DecoderVerdict::kNotAsked);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Chains, RestartPointTest,
    testing::Combine(testing::Values("lzma2:preset=1,dict=4KiB", "lzma2:preset=1,dict=64KiB",
                                     "lzma2:preset=6,dict=1MiB", "x86 lzma2:dict=64KiB",
                                     "arm64 lzma2:dict=64KiB", "ia64 delta:dist=7 lzma2:dict=64KiB",
                                     "delta:dist=256 lzma2:lc=0,lp=2,pb=0,dict=64KiB"),
                     testing::Values(kCheckNone, kCheckCrc32, kCheckCrc64, kCheckSha256)));

TEST(RestartPointsTest, DataThatIsNotCompressedHasThem) {
  const std::string plain = SomeNoise(300000);
  const Stored stored(MakeXz(plain, plain.size()));
  const auto decoder = stored.Open();
  std::string out(123456, 0);
  ASSERT_TRUE(Decode(*decoder, stored.file, out));
  const Point point = Save(*decoder);
  std::string rest(plain.size() - out.size(), 0);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(Decode(*decoder, stored.file, rest));
    EXPECT_TRUE(out + rest == plain);
    Restore(*decoder, point);
  }
}

TEST(RestartPointsTest, TheStartNeedsNoHistory) {
  const std::string plain = SomeText(200000);
  const Stored stored(MakeXz(plain, plain.size()));
  const auto decoder = stored.Open();
  const DecoderMark start = decoder->Mark();
  for (int i = 0; i < 3; ++i) {
    std::string out(plain.size(), 0);
    ASSERT_TRUE(Decode(*decoder, stored.file, out));
    EXPECT_TRUE(out == plain);
    const std::span<std::byte> history = decoder->Restore(start);
    std::fill(history.begin(), history.end(), std::byte{0xEE});
  }
}

TEST(RestartPointsTest, TheCheckAtTheEndCoversTheBytesBeforeThePoints) {
  XzBuilder builder;
  builder.AddStream(SomeText(100000), 100000);
  std::string bytes = builder.bytes();
  bytes[builder.block_ends()[0] - 1] ^= 1;
  const Stored stored(bytes);
  const auto decoder = stored.Open();
  std::string half(50000, 0);
  ASSERT_TRUE(Decode(*decoder, stored.file, half));
  const Point point = Save(*decoder);
  for (int i = 0; i < 2; ++i) {
    const Status status = Decode(*decoder, stored.file, half);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, EIO);
    EXPECT_FALSE(decoder->Decode(stored.file, {})) << "it stays failed";
    Restore(*decoder, point);
  }
}

TEST(RestartPointsTest, RestoringAPointClearsAnError) {
  const std::string plain = SomeNoise(600000);
  Stored stored(MakeXz(plain, plain.size()));
  const auto decoder = stored.Open();
  const Point start = Save(*decoder);
  std::string out(plain.size(), 0);
  stored.file.FailAfter(2, ESTALE);
  EXPECT_EQ(Decode(*decoder, stored.file, out).error().code, ESTALE);
  stored.file.StopFailing();
  EXPECT_FALSE(Decode(*decoder, stored.file, out));
  Restore(*decoder, start);
  ASSERT_TRUE(Decode(*decoder, stored.file, out));
  EXPECT_TRUE(out == plain);
}

// A file that keeps histories might return such a one.
TEST(RestartPointsTest, WrongBytesThatAWrongHistoryGaveAreNoticed) {
  const std::string plain = SomeText(400000);
  const Stored stored(MakeXz(plain, plain.size()));
  const auto decoder = stored.Open();
  std::string out(100000, 0);
  ASSERT_TRUE(Decode(*decoder, stored.file, out));
  const Point point = Save(*decoder);
  out.resize(500);
  std::mt19937 random(3);
  int wrong = 0;
  for (int i = 0; i < 60; ++i) {
    // Few wrong bytes, so that decoding goes on for a while.
    const std::span<std::byte> history = decoder->Restore(point.mark);
    std::copy(point.history.begin(), point.history.end(), history.begin());
    history[history.size() - 1 - random() % 20000] ^= std::byte{1};
    Status status;
    bool is_right = true;
    while (status && decoder->position() < plain.size()) {
      const uint64_t at = decoder->position();
      out.resize(std::min<size_t>(500, plain.size() - at));
      status = Decode(*decoder, stored.file, out);
      is_right = is_right && (!status || out == plain.substr(at, out.size()));
    }
    const DecoderVerdict verdict = decoder->TakeVerdict();
    EXPECT_EQ(is_right, status.has_value());
    EXPECT_EQ(is_right, verdict != DecoderVerdict::kWrong);
    wrong += is_right ? 0 : 1;
  }
  EXPECT_GT(wrong, 5);
}

TEST(RestartPointsTest, LegacyFormatsHaveNoPoints) {
  const MemFile file(MakeLzipMember(SomeText(50000)));
  const BlockIndex index = ReadIndex(file, Format::kLzip).value();
  const auto decoder = BlockDecoder::Open(file, index, index.Block(0), kTestMemoryLimit).value();
  EXPECT_EQ(decoder->most_history_bytes(), 0u);
  decoder->FreeMemory();
  std::string out(50000, 0);
  EXPECT_TRUE(Decode(*decoder, file, out));
}

}  // namespace
}  // namespace xzfs
