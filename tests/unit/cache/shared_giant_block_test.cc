// Reads of giant Blocks that go back, jump, and run at the same time.
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cache_test_util.h"

namespace xzfs {
namespace {

constexpr size_t kMiB = 1024 * 1024;
constexpr size_t kSlices = 40;

struct Sizes {
  size_t budget_mib;
  size_t file_mib;  // of the restart file
  const char* filters;
};

class SharedGiantBlockTest : public testing::Test {
 protected:
  static const std::string& Plain() {
    static const std::string plain = SomeText(kSlices * kMiB - 321);
    return plain;
  }

  explicit SharedGiantBlockTest(Sizes sizes = {16, 0, "lzma2:preset=0,dict=64KiB"})
      : engine_({.budget_bytes = sizes.budget_mib * kMiB,
                 .threads = 2,
                 .whole_block_bytes = 64 * 1024,
                 .restart_file_bytes = sizes.file_mib * kMiB}),
        stored_(std::make_shared<MemFile>(Compressed(sizes.filters))) {}

  static std::string Compressed(const char* filters) {
    return XzBuilder()
        .AddStream(Plain(), Plain().size(), kCheckCrc64, {.filters = filters})
        .bytes();
  }
  std::unique_ptr<XzReader> Reader() {
    return MakeReader(engine_, stored_, Plain().size(), identity_);
  }
  static testing::AssertionResult Reads(XzReader& reader, size_t offset, size_t size = 1000) {
    if (ReadString(reader, offset, size) == Plain().substr(offset, size)) {
      return testing::AssertionSuccess();
    }
    return testing::AssertionFailure() << "wrong bytes at " << offset;
  }
  void ReadAtRandom(XzReader& reader, int count, unsigned seed) {
    std::mt19937 random(seed);
    for (int i = 0; i < count; ++i) {
      ASSERT_TRUE(Reads(reader, random() % Plain().size()));
    }
  }
  uint64_t Restarts() const { return engine_.stats.giant_restarts.Get(); }
  uint64_t Restores() const { return engine_.stats.giant_restores.Get(); }
  uint64_t Points() const { return engine_.stats.giant_points.Get(); }

  ReadEngine engine_;
  const Identity identity_ = NewIdentity();
  const std::shared_ptr<MemFile> stored_;
};

TEST_F(SharedGiantBlockTest, RandomReadsGoBackToTheNearestPoint) {
  const auto reader = Reader();
  ASSERT_TRUE(Reads(*reader, Plain().size() - 1000));
  EXPECT_EQ(Restarts(), 1u);
  EXPECT_GE(Points(), 9u);
  for (int i = 0; i < 60; ++i) {
    const uint64_t before = engine_.stats.decoded_bytes.Get();
    const uint64_t restarts = Restarts();
    ASSERT_TRUE(Reads(*reader, static_cast<size_t>(i) * 7919 * 977 % Plain().size()));
    ASSERT_LE(engine_.stats.decoded_bytes.Get() - before, 5 * kMiB);
    if (Restarts() != restarts) {
      EXPECT_LE(engine_.stats.decoded_bytes.Get() - before, 4 * kMiB) << "only near the start";
    }
  }
  EXPECT_GT(Restores(), 30u);
  EXPECT_LE(engine_.budget.peak(), engine_.budget.total());
}

TEST_F(SharedGiantBlockTest, ReadingInOrderSavesHardlyAny) {
  const auto reader = Reader();
  for (size_t slice = 0; slice < kSlices; ++slice) {
    ASSERT_TRUE(Reads(*reader, slice * kMiB));
  }
  EXPECT_EQ(Points(), 0u);
  EXPECT_EQ(engine_.stats.decoded_bytes.Get(), Plain().size());
}

// Reads wait while it is shut.
class GatedFile : public RandomAccessFile {
 public:
  explicit GatedFile(std::shared_ptr<const RandomAccessFile> file) : file_(std::move(file)) {}
  Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) const override {
    std::unique_lock<std::mutex> lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
    --waiting_;
    lock.unlock();
    return file_->ReadAt(offset, out);
  }
  uint64_t size() const override { return file_->size(); }

  void Shut() {
    const std::lock_guard<std::mutex> lock(mutex_);
    open_ = false;
  }
  void AwaitReadAndOpen(const std::function<void()>& before_it_opens) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return waiting_ != 0; });
    lock.unlock();
    before_it_opens();
    lock.lock();
    open_ = true;
    changed_.notify_all();
  }

 private:
  const std::shared_ptr<const RandomAccessFile> file_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  mutable int waiting_ = 0;
  bool open_ = true;
};

TEST_F(SharedGiantBlockTest, UnitsPlannedWhileTheDecoderRunsAreDecodedAheadToo) {
  ReadEngine engine({.budget_bytes = 128 * kMiB, .threads = 2, .whole_block_bytes = 64 * 1024});
  engine.Start();
  const auto gate = std::make_shared<GatedFile>(stored_);
  const auto reader = MakeReader(engine, gate, Plain().size());
  const auto read_start_of = [&](size_t slice) {
    EXPECT_TRUE(Reads(*reader, slice * kMiB, 1000)) << slice;
  };
  for (size_t at = 0; at < kMiB; at += 128 * 1024) {
    EXPECT_TRUE(Reads(*reader, at, 128 * 1024));  // slices 1 and 2 are planned
  }
  engine.pool.WaitIdle();
  gate->Shut();
  read_start_of(1);  // up to 5
  gate->AwaitReadAndOpen([&] {
    EXPECT_TRUE(Reads(*reader, kMiB + 1000, kMiB));  // up to 10: these must wait for the decoder
  });
  engine.pool.WaitIdle();
  const uint64_t misses = engine.stats.cache_misses.Get();
  for (size_t slice = 2; slice < 10; ++slice) {
    read_start_of(slice);
  }
  EXPECT_EQ(engine.stats.cache_misses.Get(), misses);
}

TEST_F(SharedGiantBlockTest, TheCheckAtTheEndStillCatchesDamageAfterGoingBack) {
  XzBuilder builder;
  builder.AddStream(Plain(), Plain().size(), kCheckCrc64, {.filters = "lzma2:preset=0"});
  std::string wrong = builder.bytes();
  wrong[builder.block_ends()[0] - 1] ^= 1;
  const auto reader =
      MakeReader(engine_, std::make_shared<MemFile>(wrong), Plain().size(), NewIdentity());
  ASSERT_TRUE(Reads(*reader, 30 * kMiB));
  ASSERT_TRUE(Reads(*reader, 9 * kMiB));
  ASSERT_TRUE(Reads(*reader, 22 * kMiB));
  EXPECT_GT(Restores(), 0u);
  std::vector<std::byte> out(100);
  const auto failed = reader->ReadAt(Plain().size() - 100, out);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, EIO);
  EXPECT_FALSE(reader->ReadAt(9 * kMiB, out)) << "nothing of the Block is to be trusted";
}

TEST_F(SharedGiantBlockTest, AfterAFailureOfTheSourceItsPointsAreStillGood) {
  const auto reader = Reader();
  ASSERT_TRUE(Reads(*reader, 20 * kMiB));
  stored_->FailAfter(1, EIO);
  std::vector<std::byte> out(100);
  EXPECT_FALSE(reader->ReadAt(39 * kMiB, out));
  EXPECT_GT(stored_->failures(), 0u);
  stored_->StopFailing();
  const uint64_t before = engine_.stats.decoded_bytes.Get();
  ASSERT_TRUE(Reads(*reader, 13 * kMiB));
  EXPECT_LE(engine_.stats.decoded_bytes.Get() - before, 5 * kMiB);
}

// Two readers in order, far apart, and one reader at random.
TEST_F(SharedGiantBlockTest, ReadersThatShareABlockDoNotMakeEachOtherRestart) {
  const auto first = Reader();
  const auto second = Reader();
  const auto random_reader = Reader();
  ASSERT_TRUE(Reads(*random_reader, Plain().size() - 1000));  // leaves points
  std::mt19937 random(2);
  for (size_t slice = 0; slice < 18; ++slice) {
    ASSERT_TRUE(Reads(*first, slice * kMiB));
    ASSERT_TRUE(Reads(*second, (20 + slice) * kMiB));
    ASSERT_TRUE(Reads(*random_reader, random() % Plain().size()));
  }
  EXPECT_LE(Restarts(), 8u);  // a random read of the first four slices begins at the start
  EXPECT_GT(Restores(), 10u);
  // Each reader decodes its slices, and at most five for each random read.
  EXPECT_LE(engine_.stats.decoded_bytes.Get(), (40 + 18 + 18 + 18 * 5 + 10) * kMiB);
}

TEST_F(SharedGiantBlockTest, ManyThreadsReadRightBytesWithOneStartPerDecoder) {
  engine_.Start();
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (unsigned number = 0; number < 6; ++number) {
    threads.emplace_back([&, number] {
      const auto reader = Reader();
      std::mt19937 random(number);
      size_t at = number * 5 * kMiB;
      for (int i = 0; i < 25; ++i) {
        at = number % 2 == 0 ? 5 * kMiB + random() % (Plain().size() - 5 * kMiB) : at + 400'000;
        at %= Plain().size();
        wrong += Reads(*reader, at) ? 0 : 1;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(Restores(), 10u);
  EXPECT_LE(Restarts(), 8u);
  EXPECT_LE(engine_.budget.peak(), engine_.budget.total() + 6 * kMiB);
}

// A quarter of the budget is too little for one dictionary, so all points are in the file.
class SharedGiantBlockInFileTest : public SharedGiantBlockTest {
 protected:
  SharedGiantBlockInFileTest() : SharedGiantBlockTest({8, 256, "lzma2:preset=0,dict=4MiB"}) {}
};

TEST_F(SharedGiantBlockInFileTest, PointsGoToTheFile) {
  const auto reader = Reader();
  ASSERT_TRUE(Reads(*reader, Plain().size() - 1000));
  ReadAtRandom(*reader, 40, 1);
  EXPECT_GE(Points(), 9u);
  EXPECT_GT(Restores(), 20u);
  EXPECT_LE(engine_.restarts.memory_bytes(), 2 * kMiB);
  EXPECT_LE(engine_.budget.peak(), engine_.budget.total());
}

// One decoder of 4 MiB fits into three quarters of 8 MiB.
TEST_F(SharedGiantBlockInFileTest, DecodersThatDoNotFitFreeTheirMemoryAndGoOnWhereTheyWere) {
  std::vector<std::unique_ptr<XzReader>> readers;
  for (int i = 0; i < 5; ++i) {
    readers.push_back(MakeReader(engine_, stored_, Plain().size(), NewIdentity()));
  }
  for (size_t slice = 0; slice < 12; ++slice) {
    for (const auto& reader : readers) {
      ASSERT_TRUE(Reads(*reader, slice * kMiB));
    }
  }
  EXPECT_EQ(Restarts(), 5u);
  EXPECT_GE(Restores(), 40u);
  EXPECT_EQ(engine_.stats.decoded_bytes.Get(), 5 * 12 * kMiB);
  EXPECT_LE(engine_.budget.peak(), engine_.budget.total() + kMiB);
}

TEST_F(SharedGiantBlockInFileTest, PlacesOfReadersThatAreGoneAreFreed) {
  {
    const auto one = Reader();
    const auto other = MakeReader(engine_, stored_, Plain().size(), NewIdentity());
    for (size_t slice = 0; slice < 3; ++slice) {
      ASSERT_TRUE(Reads(*one, slice * kMiB));
      ASSERT_TRUE(Reads(*other, slice * kMiB));
    }
    EXPECT_GT(engine_.restarts.memory_bytes(), 0u);
  }
  EXPECT_EQ(engine_.restarts.memory_bytes(), 0u);
}

// Room for three dictionaries, where the Block would have nine.
class SharedGiantBlockFullFileTest : public SharedGiantBlockTest {
 protected:
  SharedGiantBlockFullFileTest() : SharedGiantBlockTest({8, 13, "lzma2:preset=0,dict=4MiB"}) {}
};

TEST_F(SharedGiantBlockFullFileTest, AFullFileMeansFewerPoints) {
  const auto reader = Reader();
  ASSERT_TRUE(Reads(*reader, Plain().size() - 1000));
  ReadAtRandom(*reader, 40, 1);
  EXPECT_GT(Points(), 0u);
  EXPECT_GT(Restores(), 5u);
  const auto other = Reader();
  ReadAtRandom(*other, 20, 2);
  EXPECT_LE(engine_.budget.peak(), engine_.budget.total() + kMiB);
}

// No temporary file can be made, and no point fits into memory.
class SharedGiantBlockNoRoomTest : public testing::Test {
 protected:
  SharedGiantBlockNoRoomTest() { setenv("TMPDIR", "/nowhere/at/all", 1); }
  ~SharedGiantBlockNoRoomTest() override { unsetenv("TMPDIR"); }
};

TEST_F(SharedGiantBlockNoRoomTest, WithoutPointsReadsAreStillRight) {
  ReadEngine engine({.budget_bytes = 8 * kMiB,
                     .threads = 2,
                     .whole_block_bytes = 64 * 1024,
                     .restart_file_bytes = 256 * kMiB});
  const std::string plain = SomeText(12 * kMiB);
  XzBuilder builder;
  builder.AddStream(plain, plain.size(), kCheckCrc64, {.filters = "lzma2:preset=0,dict=4MiB"});
  const auto reader = MakeReader(engine, std::make_shared<MemFile>(builder.bytes()), plain.size());
  for (const size_t slice : {11u, 3u, 7u, 1u, 10u}) {
    ASSERT_EQ(ReadString(*reader, slice * kMiB, 100), plain.substr(slice * kMiB, 100));
  }
  EXPECT_EQ(engine.stats.giant_points.Get(), 0u);
  EXPECT_GT(engine.stats.giant_restarts.Get(), 1u);
}

}  // namespace
}  // namespace xzfs
