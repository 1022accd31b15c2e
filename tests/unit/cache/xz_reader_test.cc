#include "cache/xz_reader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "cache_test_util.h"

namespace xzfs {
namespace {

constexpr size_t kKiB = 1024;
constexpr size_t kMiB = 1024 * kKiB;

class XzReaderTest : public testing::Test {
 protected:
  ReadEngine engine_{{.budget_bytes = 32 * kMiB, .threads = 2, .whole_block_bytes = 4 * kMiB}};
};

TEST_F(XzReaderTest, AnyRangeEqualsThePlainBytes) {
  const std::string plain = SomeText(900 * kKiB + 17);
  const auto reader =
      MakeReader(engine_, std::make_shared<MemFile>(MakeXz(plain, 64 * kKiB)), plain.size());
  std::mt19937 random(1);
  for (int i = 0; i < 500; ++i) {
    const size_t offset = random() % (plain.size() + 10);
    const size_t size = random() % (200 * kKiB);
    const std::string want = offset < plain.size() ? plain.substr(offset, size) : "";
    ASSERT_EQ(ReadString(*reader, offset, size), want) << offset << "+" << size;
  }
}

TEST_F(XzReaderTest, LendsWhatOneUnitHasAndNothingElse) {
  const std::string plain = SomeText(900 * kKiB + 17);
  const auto reader =
      MakeReader(engine_, std::make_shared<MemFile>(MakeXz(plain, 64 * kKiB)), plain.size());
  std::mt19937 random(2);
  int lent_count = 0;
  for (int i = 0; i < 200; ++i) {
    const size_t offset = random() % plain.size();
    const size_t size = 1 + random() % (100 * kKiB);
    const std::string want = plain.substr(offset, size);
    const auto lent = reader->Lend(offset, size);
    ASSERT_TRUE(lent) << lent.error().message;
    const bool in_one = offset / (64 * kKiB) == (offset + want.size() - 1) / (64 * kKiB);
    ASSERT_EQ(lent->has_value(), in_one) << offset << "+" << size;
    if (in_one) {
      const std::span<const std::byte> bytes = (*lent)->bytes;
      ASSERT_EQ(bytes.data(), (*lent)->unit->bytes().data() + offset % (64 * kKiB));
      ASSERT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), want);
      ++lent_count;
    }
  }
  EXPECT_GT(lent_count, 0);
  EXPECT_LT(lent_count, 200);
  const auto behind = reader->Lend(plain.size(), 10);
  ASSERT_TRUE(behind);
  EXPECT_FALSE(*behind);
}

TEST_F(XzReaderTest, AnnouncesTheStoredBytesOfWhatItDecodesAheadAndOfNothingElse) {
  const std::string plain = SomeText(kMiB);
  const auto stored = std::make_shared<MemFile>(MakeXz(plain, 64 * kKiB));
  const auto reader = MakeReader(engine_, stored, plain.size());
  ASSERT_EQ(ReadString(*reader, 500 * kKiB, 10), plain.substr(500 * kKiB, 10));
  EXPECT_TRUE(stored->announced().empty());
  for (size_t at = 0; at < plain.size(); at += 32 * kKiB) {
    ASSERT_EQ(ReadString(*reader, at, 32 * kKiB), plain.substr(at, 32 * kKiB));
  }
  const auto announced = stored->announced();
  ASSERT_FALSE(announced.empty());
  // Each byte once, in order, up to the last Block's end.
  for (size_t i = 1; i < announced.size(); ++i) {
    EXPECT_GE(announced[i].offset, announced[i - 1].end());
    EXPECT_LT(announced[i].offset, announced[i - 1].end() + 4);
  }
  EXPECT_LT(announced.back().end(), stored->size());
  EXPECT_GT(announced.back().end(), stored->size() / 16 * 15);
}

TEST_F(XzReaderTest, DecodesOnlyTheBlocksTouched) {
  const std::string plain = SomeText(kMiB);
  const auto reader =
      MakeReader(engine_, std::make_shared<MemFile>(MakeXz(plain, 64 * kKiB)), plain.size());
  ASSERT_EQ(ReadString(*reader, 500 * kKiB, 10), plain.substr(500 * kKiB, 10));
  EXPECT_EQ(engine_.stats.decoded_bytes.Get(), 64 * kKiB);
}

TEST_F(XzReaderTest, OpenFilesDoNotHoldTheirIndex) {
  const std::string plain = SomeText(100 * kKiB);
  const auto stored = std::make_shared<MemFile>(MakeXz(plain, kKiB));
  std::vector<std::unique_ptr<XzReader>> readers;
  for (int i = 0; i < 3000; ++i) {
    readers.push_back(MakeReader(engine_, stored, plain.size()));
    ASSERT_EQ(ReadString(*readers.back(), 5, 5), plain.substr(5, 5));
  }
  EXPECT_LE(engine_.budget.used(), engine_.budget.total());
  EXPECT_EQ(ReadString(*readers.front(), 50 * kKiB, 100), plain.substr(50 * kKiB, 100));
}

TEST_F(XzReaderTest, ADamagedBlockFailsOnlyReadsThatTouchIt) {
  const std::string plain = SomeText(256 * kKiB);
  XzBuilder builder;
  builder.AddStream(plain, 64 * kKiB);
  std::string bytes = builder.bytes();
  bytes[builder.block_ends()[1] - 1] = static_cast<char>(bytes[builder.block_ends()[1] - 1] ^ 1);
  const auto stored = std::make_shared<MemFile>(bytes);
  const auto reader = MakeReader(engine_, stored, plain.size());
  EXPECT_EQ(ReadString(*reader, 0, 64 * kKiB), plain.substr(0, 64 * kKiB));
  EXPECT_EQ(ReadString(*reader, 128 * kKiB, 128 * kKiB), plain.substr(128 * kKiB));
  std::vector<std::byte> out(100);
  for (const size_t offset : {64 * kKiB, 100 * kKiB, 128 * kKiB - 1, 64 * kKiB - 50}) {
    const auto failed = reader->ReadAt(offset, out);
    ASSERT_FALSE(failed) << offset;
    EXPECT_EQ(failed.error().code, EIO);
  }
  EXPECT_EQ(engine_.stats.damaged_blocks.Get(), 1u);
}

TEST_F(XzReaderTest, ABlockThatNeedsTooMuchMemoryIsRefusedAndNotDamaged) {
  XzBuilder builder;
  builder.BeginStream()
      .AddBlock("little")
      .AddBlock(SomeText(2 * kMiB),
                {.header_filters = "lzma2:preset=0,dict=144MiB", .recorded_plain_size = 150 * kMiB})
      .EndStream();
  const auto reader =
      MakeReader(engine_, std::make_shared<MemFile>(builder.bytes()), 6 + 150 * kMiB);
  for (int i = 0; i < 2; ++i) {
    std::vector<std::byte> out(100);
    const auto refused = reader->ReadAt(6, out);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, EFBIG);
    EXPECT_NE(refused.error().message.find("raise the memory limit"), std::string::npos);
  }
  EXPECT_EQ(ReadString(*reader, 0, 6), "little");
  EXPECT_EQ(engine_.stats.damaged_blocks.Get(), 0u);
}

TEST_F(XzReaderTest, DamageIsDecodedOnce) {
  const std::string plain = SomeText(64 * kKiB);
  XzBuilder builder;
  builder.AddStream(plain, 64 * kKiB);
  std::string bytes = builder.bytes();
  bytes[builder.block_ends()[0] - 1] = static_cast<char>(bytes[builder.block_ends()[0] - 1] ^ 1);
  const auto stored = std::make_shared<MemFile>(bytes);
  const auto reader = MakeReader(engine_, stored, plain.size());
  std::vector<std::byte> out(100);
  ASSERT_FALSE(reader->ReadAt(0, out));
  const size_t reads = stored->accesses().size();
  for (int i = 0; i < 10; ++i) {
    ASSERT_FALSE(reader->ReadAt(0, out));
  }
  EXPECT_EQ(stored->accesses().size(), reads);
}

TEST_F(XzReaderTest, AnErrorOfTheStoredFileIsNotRememberedAsDamage) {
  const std::string plain = SomeText(256 * kKiB);
  const auto stored = std::make_shared<MemFile>(MakeXz(plain, 64 * kKiB));
  const auto reader = MakeReader(engine_, stored, plain.size());
  ASSERT_EQ(ReadString(*reader, 0, 10), plain.substr(0, 10));
  stored->FailAfter(0, ESTALE);
  std::vector<std::byte> out(100);
  const auto failed = reader->ReadAt(100 * kKiB, out);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ESTALE);
  stored->StopFailing();
  EXPECT_EQ(ReadString(*reader, 100 * kKiB, 10), plain.substr(100 * kKiB, 10));
  EXPECT_EQ(engine_.stats.damaged_blocks.Get(), 0u);
}

TEST_F(XzReaderTest, ASequentialReaderGetsBlocksDecodedAhead) {
  engine_.Start();
  const std::string plain = SomeText(4 * kMiB);
  const auto reader =
      MakeReader(engine_, std::make_shared<MemFile>(MakeXz(plain, 256 * kKiB)), plain.size());
  std::string all;
  while (all.size() < plain.size()) {
    all += ReadString(*reader, all.size(), 128 * kKiB);
    engine_.pool.WaitIdle();
  }
  EXPECT_EQ(all, plain);
  EXPECT_GE(engine_.stats.ahead_useful.Get(), 10u);
  EXPECT_EQ(engine_.stats.decoded_bytes.Get(), plain.size());
}

TEST_F(XzReaderTest, AScanWhoseRequestsArriveOutOfOrderDoesNotFlushWhatIsReadAgain) {
  engine_.Start();
  const std::string plain = SomeText(4 * kMiB, 1);
  const auto busy_reader =
      MakeReader(engine_, std::make_shared<MemFile>(MakeXz(plain, kMiB)), plain.size());
  for (int visit = 0; visit < 3; ++visit) {
    for (const size_t block : {2u, 0u, 3u, 1u}) {
      ReadString(*busy_reader, block * kMiB + 500 * kKiB, 4 * kKiB);
    }
  }
  const std::string large = SomeText(64 * kMiB, 2);
  const auto scan =
      MakeReader(engine_, std::make_shared<MemFile>(MakeXz(large, kMiB)), large.size());
  for (size_t at = 0; at < large.size(); at += 256 * kKiB) {
    ReadString(*scan, at + 128 * kKiB, 128 * kKiB);
    ReadString(*scan, at, 128 * kKiB);
  }
  const uint64_t misses = engine_.stats.cache_misses.Get();
  for (const size_t block : {2u, 0u, 3u, 1u}) {
    ReadString(*busy_reader, block * kMiB + 500 * kKiB, 4 * kKiB);
  }
  EXPECT_EQ(engine_.stats.cache_misses.Get(), misses);
}

TEST_F(XzReaderTest, RandomReadsDecodeNothingAhead) {
  engine_.Start();
  const std::string plain = SomeText(4 * kMiB);
  const auto reader =
      MakeReader(engine_, std::make_shared<MemFile>(MakeXz(plain, 64 * kKiB)), plain.size());
  for (const size_t at : {3000u, 100u, 2000u, 500u, 3500u, 1200u}) {
    ReadString(*reader, at * kKiB, 4 * kKiB);
  }
  engine_.pool.WaitIdle();
  EXPECT_EQ(engine_.stats.decoded_bytes.Get(), 6 * 64 * kKiB);
}

TEST_F(XzReaderTest, EightReadersOfAGiantBlockGetTheSameBytesWithoutRestarting) {
  ReadEngine engine({.budget_bytes = 64 * kMiB, .threads = 2, .whole_block_bytes = 64 * kKiB});
  engine.Start();
  const std::string plain = SomeText(6 * kMiB + 5);
  const auto stored = std::make_shared<MemFile>(MakeXz(plain, plain.size()));
  const Identity identity = NewIdentity();
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      const auto reader = MakeReader(engine, stored, plain.size(), identity);
      for (size_t at = 0; at < plain.size(); at += 100 * kKiB) {
        wrong += ReadString(*reader, at, 100 * kKiB) == plain.substr(at, 100 * kKiB) ? 0 : 1;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(engine.stats.giant_restarts.Get(), 1u);
  EXPECT_EQ(engine.stats.decoded_bytes.Get(), plain.size());
}

}  // namespace
}  // namespace xzfs
