// Reading with verify=stream: bytes come before their Block's Check is verified.
#include <gtest/gtest.h>

#include <cerrno>
#include <random>
#include <thread>
#include <vector>

#include "cache/xz_reader.h"
#include "cache_test_util.h"

namespace xzfs {
namespace {

constexpr size_t kKiB = 1024;
constexpr size_t kMiB = 1024 * kKiB;

class VerifyStreamTest : public testing::Test {
 protected:
  ReadEngine engine_{{.budget_bytes = 32 * kMiB,
                      .threads = 2,
                      .whole_block_bytes = 4 * kMiB,
                      .verify = Verify::kStream}};
};

// Two Blocks of 1 MiB, the Check of the first is wrong.
std::shared_ptr<MemFile> FileWithAWrongCheck(const std::string& plain) {
  XzBuilder builder;
  builder.AddStream(plain, kMiB);
  std::string bytes = builder.bytes();
  const size_t check_end = builder.block_ends()[0];
  bytes[check_end - 1] = static_cast<char>(bytes[check_end - 1] ^ 1);
  return std::make_shared<MemFile>(bytes);
}

TEST_F(VerifyStreamTest, AnyRangeEqualsThePlainBytesWhereverTheRestIsDecoded) {
  const std::string plain = SomeText(6 * kMiB + 17);
  const auto stored = std::make_shared<MemFile>(MakeXz(plain, 600 * kKiB));
  for (const bool with_pool : {false, true}) {
    if (with_pool) {
      engine_.Start();
    }
    std::vector<std::thread> readers;
    for (unsigned seed = 0; seed < 4; ++seed) {
      readers.emplace_back([&, seed] {
        const auto reader = MakeReader(engine_, stored, plain.size());
        std::mt19937 random(seed);
        for (int i = 0; i < 100; ++i) {
          const size_t offset = random() % plain.size();
          const size_t size = random() % (20 * kKiB);
          ASSERT_EQ(ReadString(*reader, offset, size), plain.substr(offset, size)) << offset;
        }
      });
    }
    for (std::thread& reader : readers) {
      reader.join();
    }
    engine_.pool.WaitIdle();
  }
  EXPECT_GT(engine_.stats.single_flight_joins.Get(), 0u);
}

TEST_F(VerifyStreamTest, BytesComeBeforeTheCheckAndNoneComeAfterItFailed) {
  const std::string plain = SomeText(2 * kMiB);
  const auto stored = FileWithAWrongCheck(plain);
  engine_.Start();
  const auto reader = MakeReader(engine_, stored, plain.size());
  EXPECT_EQ(ReadString(*reader, 5000, 100), plain.substr(5000, 100));
  engine_.pool.WaitIdle();
  std::vector<std::byte> out(100);
  const auto failed = reader->ReadAt(5000, out);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, EIO);
  EXPECT_EQ(engine_.stats.damaged_blocks.Get(), 1u);
  EXPECT_EQ(ReadString(*reader, kMiB + 5000, 100), plain.substr(kMiB + 5000, 100));
}

TEST_F(VerifyStreamTest, TheRestOfTheBlockIsDecodedOnceAndKept) {
  const std::string plain = SomeText(kMiB);
  const auto stored = std::make_shared<MemFile>(MakeXz(plain, kMiB));
  engine_.Start();
  const auto reader = MakeReader(engine_, stored, plain.size());
  EXPECT_EQ(ReadString(*reader, 0, 100), plain.substr(0, 100));
  engine_.pool.WaitIdle();
  EXPECT_EQ(engine_.stats.decoded_bytes.Get(), kMiB);
  EXPECT_EQ(ReadString(*reader, kMiB - 100, 100), plain.substr(kMiB - 100));
  EXPECT_EQ(engine_.stats.decoded_bytes.Get(), kMiB);
  EXPECT_EQ(engine_.stats.cache_hits.Get(), 1u);
  EXPECT_EQ(engine_.unfinished_bytes, 0u);
}

TEST_F(VerifyStreamTest, WithoutAPoolAReaderVerifiesItsBlockItself) {
  const std::string plain = SomeText(2 * kMiB);
  const auto stored = FileWithAWrongCheck(plain);
  const auto reader = MakeReader(engine_, stored, plain.size());
  std::vector<std::byte> out(100);
  EXPECT_FALSE(reader->ReadAt(5000, out));
  EXPECT_EQ(engine_.stats.damaged_blocks.Get(), 1u);
}

}  // namespace
}  // namespace xzfs
