// What readers and figures see of a Block that only liblzma decodes.
#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <string>

#include "cache_test_util.h"
#include "support/flaky_file.h"

namespace xzfs {
namespace {

constexpr size_t kMiB = 1024 * 1024;
constexpr size_t kSize = 4 * kMiB;

class DecoderVerdictTest : public testing::Test {
 protected:
  DecoderVerdictTest() {
    builder_.AddStream(SomeText(kSize), kSize);
    engine_.damage.OnWrongBytes([this] { ++drops_; });
  }

  uint64_t Fallbacks() const { return engine_.stats.decoder_fallbacks.Get(); }
  uint64_t Wrong() const { return engine_.stats.decoder_wrong.Get(); }

  XzBuilder builder_;
  int drops_ = 0;
  ReadEngine engine_{{.budget_bytes = 32 * kMiB, .threads = 1, .whole_block_bytes = 8 * kMiB}};
};

TEST_F(DecoderVerdictTest, OfAWholeBlockNobodyGetsWrongBytes) {
  const auto file = std::make_shared<FlakyFile>(builder_, builder_.block_ends()[0] - 500);
  const auto reader = MakeReader(engine_, file, kSize);
  EXPECT_TRUE(ReadString(*reader, 1000, 5000) == builder_.plain().substr(1000, 5000));
  EXPECT_EQ(Fallbacks(), 1u);
  EXPECT_EQ(Wrong(), 1u);
  EXPECT_EQ(drops_, 0);
  EXPECT_EQ(engine_.stats.damaged_blocks.Get(), 0u);
}

TEST_F(DecoderVerdictTest, ADamagedBlockIsDamagedForLiblzmaToo) {
  std::string bytes = builder_.bytes();
  bytes[builder_.block_ends()[0] - 500] ^= 1;
  const auto reader = MakeReader(engine_, std::make_shared<MemFile>(bytes), kSize);
  std::string out(100, 0);
  const auto got = reader->ReadAt(1000, std::as_writable_bytes(std::span(out)));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, EIO);
  EXPECT_EQ(Fallbacks(), 1u);
  EXPECT_EQ(Wrong(), 0u);
  EXPECT_EQ(engine_.stats.damaged_blocks.Get(), 1u);
}

// The wrong byte comes early in the data, and the Check tells at the end.
TEST_F(DecoderVerdictTest, WrongBytesOfAGiantBlockAreDroppedAndThenLiblzmaDecodesIt) {
  ReadEngine engine{{.budget_bytes = 32 * kMiB, .threads = 1, .whole_block_bytes = 64 * 1024}};
  engine.damage.OnWrongBytes([&] {
    ++drops_;
    engine.cache.DropAll();
  });
  // Incompressible data: a wrong byte of it is a wrong byte that comes out. The header is read once
  // more, to learn how much memory the Block needs.
  XzBuilder noise;
  noise.AddStream(SomeNoise(kSize), kSize);
  const auto file = std::make_shared<FlakyFile>(noise, noise.block_offsets()[0] + 300'000, 2);
  const auto reader = MakeReader(engine, file, kSize);
  for (size_t at = 0; at < kSize - kMiB; at += kMiB) {
    EXPECT_EQ(ReadString(*reader, at, kMiB) == noise.plain().substr(at, kMiB), at != 0);
  }
  EXPECT_EQ(drops_, 0);
  std::string out(kMiB, 0);
  EXPECT_FALSE(reader->ReadAt(kSize - kMiB, std::as_writable_bytes(std::span(out))));
  EXPECT_EQ(drops_, 1);
  EXPECT_EQ(engine.stats.decoder_wrong.Get(), 1u);
  EXPECT_EQ(engine.stats.damaged_blocks.Get(), 0u);
  EXPECT_TRUE(ReadString(*reader, 0, kSize) == noise.plain());
  EXPECT_TRUE(ReadString(*reader, 1000, 5000) == noise.plain().substr(1000, 5000));
  EXPECT_EQ(drops_, 1);
  EXPECT_EQ(engine.stats.decoder_fallbacks.Get(), 1u);
}

TEST_F(DecoderVerdictTest, WrongBytesThatWereStreamedDoNotStayInTheCache) {
  ReadEngine engine{{.budget_bytes = 32 * kMiB,
                     .threads = 1,
                     .whole_block_bytes = 8 * kMiB,
                     .verify = Verify::kStream}};
  XzBuilder noise;
  noise.AddStream(SomeNoise(kSize), kSize);
  const auto file = std::make_shared<FlakyFile>(noise, noise.block_offsets()[0] + 300'000);
  const auto reader = MakeReader(engine, file, kSize);
  std::string out(kSize, 0);
  static_cast<void>(reader->ReadAt(0, std::as_writable_bytes(std::span(out))));
  EXPECT_EQ(engine.stats.decoder_wrong.Get(), 1u);
  EXPECT_TRUE(ReadString(*reader, 0, kSize) == noise.plain());
}

}  // namespace
}  // namespace xzfs
