#include "cache/giant_blocks.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <random>
#include <thread>
#include <vector>

#include "cache_test_util.h"

namespace xzfs {
namespace {

constexpr size_t kMiB = 1024 * 1024;

// A file of one giant Block.
class GiantBlocksTest : public testing::Test {
 protected:
  explicit GiantBlocksTest(size_t budget = 32 * kMiB)
      : engine_({.budget_bytes = budget, .threads = 2, .whole_block_bytes = 64 * 1024}) {}

  std::string Read(uint64_t offset, size_t size) { return ReadString(*reader_, offset, size); }

  ReadEngine engine_;
  const std::string plain_ = SomeText(20 * kMiB + 123);
  const std::shared_ptr<MemFile> stored_ = std::make_shared<MemFile>(MakeXz(plain_, plain_.size()));
  const std::unique_ptr<XzReader> reader_ = MakeReader(engine_, stored_, plain_.size());
};

TEST_F(GiantBlocksTest, GoingForwardNeverRepeatsWork) {
  for (size_t at = 0; at < plain_.size(); at += 300 * 1000) {
    ASSERT_EQ(Read(at, 300 * 1000), plain_.substr(at, 300 * 1000)) << at;
  }
  EXPECT_EQ(engine_.stats.giant_restarts.Get(), 1u);
  EXPECT_EQ(engine_.stats.decoded_bytes.Get(), plain_.size());
  EXPECT_LE(engine_.budget.peak(), engine_.budget.total());
}

TEST_F(GiantBlocksTest, AReadOfTheFirstBytesDecodesOneSlice) {
  ASSERT_EQ(Read(10, 100), plain_.substr(10, 100));
  EXPECT_EQ(engine_.stats.decoded_bytes.Get(), kSliceBytes);
}

TEST_F(GiantBlocksTest, GoingBackwardsRestartsOnceForAnEighthOfTheBudget) {
  for (size_t slice = 20; slice-- > 0;) {
    ASSERT_EQ(Read(slice * kMiB, 1000), plain_.substr(slice * kMiB, 1000));
  }
  // Each restart keeps 4 slices.
  EXPECT_LE(engine_.stats.giant_restarts.Get(), 6u);
}

TEST_F(GiantBlocksTest, RandomReadsAreRight) {
  std::mt19937 random(5);
  for (int i = 0; i < 40; ++i) {
    const size_t offset = random() % plain_.size();
    ASSERT_EQ(Read(offset, 5000), plain_.substr(offset, 5000));
  }
  EXPECT_LE(engine_.budget.peak(), engine_.budget.total());
}

TEST_F(GiantBlocksTest, ReadersFarApartKeepTheirOwnDecoders) {
  ASSERT_EQ(Read(15 * kMiB, 10), plain_.substr(15 * kMiB, 10));
  ASSERT_EQ(Read(0, 10), plain_.substr(0, 10));
  for (size_t slice = 1; slice < 5; ++slice) {
    ASSERT_EQ(Read(slice * kMiB, 10), plain_.substr(slice * kMiB, 10));
    ASSERT_EQ(Read((15 + slice) * kMiB, 10), plain_.substr((15 + slice) * kMiB, 10));
  }
  // The slices before 15, the ten slices, and at most four from a point to each of them.
  EXPECT_LE(engine_.stats.decoded_bytes.Get(), (15 + 10 + 10 * 4) * kMiB);
}

TEST_F(GiantBlocksTest, AStrayReadDoesNotTakeAnotherReadersDecoder) {
  const auto stray = MakeReader(engine_, stored_, plain_.size());
  const Identity identity = NewIdentity();
  const auto steady = MakeReader(engine_, stored_, plain_.size(), identity);
  const auto other = MakeReader(engine_, stored_, plain_.size(), identity);
  for (size_t slice = 0; slice < 6; ++slice) {
    ASSERT_EQ(ReadString(*steady, slice * kMiB, 10), plain_.substr(slice * kMiB, 10));
  }
  ASSERT_EQ(ReadString(*other, 19 * kMiB, 10), plain_.substr(19 * kMiB, 10));
  const uint64_t restarts = engine_.stats.giant_restarts.Get();
  for (size_t slice = 6; slice < 15; ++slice) {
    ASSERT_EQ(ReadString(*steady, slice * kMiB, 10), plain_.substr(slice * kMiB, 10));
  }
  EXPECT_EQ(engine_.stats.giant_restarts.Get(), restarts);
}

TEST_F(GiantBlocksTest, TheNextReaderTakesTheDecoderOfAReaderThatIsGone) {
  const Identity identity = NewIdentity();
  {
    const auto first = MakeReader(engine_, stored_, plain_.size(), identity);
    ASSERT_EQ(ReadString(*first, 2 * kMiB, 10), plain_.substr(2 * kMiB, 10));
  }
  const auto second = MakeReader(engine_, stored_, plain_.size(), identity);
  ASSERT_EQ(ReadString(*second, 18 * kMiB, 10), plain_.substr(18 * kMiB, 10));
  EXPECT_EQ(engine_.stats.giant_restarts.Get(), 1u);
}

TEST_F(GiantBlocksTest, AReaderThatAnotherOneDecodesPastGetsItsSlice) {
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (const size_t slice : {19u, 12u, 7u, 3u, 18u, 1u}) {
    threads.emplace_back([&, slice] {
      wrong += Read(slice * kMiB, 100) == plain_.substr(slice * kMiB, 100) ? 0 : 1;
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(wrong, 0);
}

TEST_F(GiantBlocksTest, DamageInTheMiddleLeavesTheSlicesBeforeItReadable) {
  std::string bytes = MakeXz(plain_, plain_.size());
  for (size_t i = 0; i < 64; ++i) {
    bytes[bytes.size() / 2 + i] = static_cast<char>(bytes[bytes.size() / 2 + i] ^ 0x5A);
  }
  const auto reader = MakeReader(engine_, std::make_shared<MemFile>(bytes), plain_.size());
  EXPECT_EQ(ReadString(*reader, kMiB, 100), plain_.substr(kMiB, 100));
  std::vector<std::byte> out(100);
  const auto failed = reader->ReadAt(19 * kMiB, out);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, EIO);
  EXPECT_EQ(engine_.stats.damaged_blocks.Get(), 1u);
}

TEST_F(GiantBlocksTest, AFailedCheckAtTheEndMakesTheWholeBlockUnreadable) {
  XzBuilder builder;
  builder.AddStream(plain_, plain_.size());
  std::string bytes = builder.bytes();
  bytes[builder.block_ends()[0] - 1] = static_cast<char>(bytes[builder.block_ends()[0] - 1] ^ 1);
  const auto reader = MakeReader(engine_, std::make_shared<MemFile>(bytes), plain_.size());
  std::vector<std::byte> out(100);
  ASSERT_FALSE(reader->ReadAt(plain_.size() - 100, out));
  EXPECT_FALSE(reader->ReadAt(0, out)) << "nothing of the Block is to be trusted";
}

// The smallest budget, and a dictionary that is larger than it.
class GiantBlocksLargeDictionaryTest : public GiantBlocksTest {
 protected:
  GiantBlocksLargeDictionaryTest() : GiantBlocksTest(8 * kMiB) {}
};

TEST_F(GiantBlocksLargeDictionaryTest, AdvancesWithoutRestartingWhenTheDecoderIsOverTheBudget) {
  XzBuilder builder;
  builder.AddStream(plain_, plain_.size(), kCheckCrc64, {.filters = "lzma2:preset=0,dict=16MiB"});
  const auto reader =
      MakeReader(engine_, std::make_shared<MemFile>(builder.bytes()), plain_.size());
  for (size_t at = 0; at < plain_.size(); at += 128 * 1024) {
    ASSERT_EQ(ReadString(*reader, at, 128 * 1024), plain_.substr(at, 128 * 1024)) << at;
  }
  EXPECT_EQ(engine_.stats.giant_restarts.Get(), 1u);
}

// There are more readers than decoders that fit into the memory.
TEST_F(GiantBlocksTest, ReadersThatCannotAllKeepADecoderShareTheCostOfRestarts) {
  constexpr size_t kReaders = 3;
  std::vector<std::unique_ptr<XzReader>> readers;
  XzBuilder builder;
  builder.AddStream(plain_, plain_.size(), kCheckCrc64, {.filters = "lzma2:preset=0,dict=12MiB"});
  for (size_t i = 0; i < kReaders; ++i) {
    readers.push_back(
        MakeReader(engine_, std::make_shared<MemFile>(builder.bytes()), plain_.size()));
  }
  for (size_t slice = 0; slice < 20; ++slice) {
    for (const auto& reader : readers) {
      ASSERT_EQ(ReadString(*reader, slice * kMiB, 10), plain_.substr(slice * kMiB, 10));
    }
  }
  // One for each slice would be 60.
  EXPECT_LE(engine_.stats.giant_restarts.Get(), 25u);
}

TEST_F(GiantBlocksTest, ADecoderThatFailedWhileRunningOnIsNotUsedAgain) {
  XzBuilder builder;
  builder.AddStream(plain_, plain_.size(), kCheckCrc64, {.filters = "lzma2:preset=0,dict=12MiB"});
  std::vector<std::unique_ptr<XzReader>> readers;
  int failed_after_the_slice = 0;
  for (size_t reads = 2; reads < 12; ++reads) {
    // Two decoders fit: from the third reader on, each takes the place of another one, and
    // continues.
    const auto stored = std::make_shared<MemFile>(builder.bytes());
    const auto& reader = readers.emplace_back(MakeReader(engine_, stored, plain_.size()));
    stored->FailAfter(reads, ESTALE);
    const bool got_slice = ReadString(*reader, 0, 10) == plain_.substr(0, 10);
    failed_after_the_slice += got_slice && stored->failures() != 0 ? 1 : 0;
    stored->StopFailing();
    for (size_t slice = 0; slice < 3; ++slice) {
      ASSERT_EQ(ReadString(*reader, slice * kMiB, 10), plain_.substr(slice * kMiB, 10)) << reads;
    }
  }
  EXPECT_GT(failed_after_the_slice, 0);
  EXPECT_EQ(engine_.stats.damaged_blocks.Get(), 0u);
}

}  // namespace
}  // namespace xzfs
