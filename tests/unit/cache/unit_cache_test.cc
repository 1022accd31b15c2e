#include "cache/unit_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <latch>
#include <new>
#include <thread>
#include <vector>

#include "base/fail.h"

namespace xzfs {
namespace {

constexpr size_t kUnit = 1000;

// A cache for ten units of kUnit bytes.
class UnitCacheTest : public testing::Test {
 protected:
  Result<UnitPtr> Load(uint64_t offset, bool new_visit = true) {
    return cache_.Get({1, offset}, {new_visit, 0}, [&](const auto&) -> Result<UnitPtr> {
      ++loads_;
      return Make(offset);
    });
  }
  // Reads `bytes` of the unit into the kernel's page cache.
  bool HandOver(uint64_t offset, size_t bytes) {
    return cache_
        .Get({1, offset}, {true, bytes},
             [&](const auto&) -> Result<UnitPtr> {
               ++loads_;
               return Make(offset);
             })
        .has_value();
  }
  UnitPtr Make(uint64_t offset) {
    auto unit = cache_.NewUnit(kUnit);
    unit->mutable_bytes()[0] = static_cast<std::byte>(offset);
    return unit;
  }
  void LoadAhead(uint64_t offset) {
    cache_.LoadAhead({1, offset}, kUnit,
                     [&](const auto&) -> Result<UnitPtr> { return Make(offset); });
  }

  Stats stats_;
  MemoryBudget budget_{10 * kUnit};
  UnitCache cache_{budget_, stats_};
  std::atomic<int> loads_{0};
};

TEST_F(UnitCacheTest, DecodesAUnitOnceForRepeatedReads) {
  ASSERT_TRUE(Load(7));
  const auto again = Load(7);
  ASSERT_TRUE(again);
  EXPECT_EQ((*again)->bytes()[0], std::byte{7});
  EXPECT_EQ(loads_, 1);
  EXPECT_EQ(stats_.cache_hits.Get(), 1u);
  EXPECT_EQ(stats_.cache_misses.Get(), 1u);
}

TEST_F(UnitCacheTest, AUnitThatTheKernelHasCompletelyIsNotKept) {
  ASSERT_TRUE(HandOver(7, kUnit / 2));
  EXPECT_TRUE(cache_.Contains({1, 7}));
  ASSERT_TRUE(HandOver(7, kUnit / 2));
  EXPECT_FALSE(cache_.Contains({1, 7}));
  EXPECT_EQ(loads_, 1);
  EXPECT_EQ(budget_.used(), 0u);
  EXPECT_EQ(stats_.handed_over.Get(), 1u);
  EXPECT_EQ(stats_.evictions.Get(), 0u);
}

TEST_F(UnitCacheTest, AUnitThatTheKernelHasIsNotDecodedAheadUntilItDropsPages) {
  ASSERT_TRUE(HandOver(7, kUnit));
  ASSERT_TRUE(HandOver(8, kUnit));
  LoadAhead(7);
  EXPECT_FALSE(cache_.Contains({1, 7}));
  LoadAhead(9);
  EXPECT_TRUE(cache_.Contains({1, 9})) << "another unit of the file";
  // The kernel has dropped one unit, so it may have dropped the other.
  ASSERT_TRUE(HandOver(8, kUnit / 2));
  LoadAhead(7);
  EXPECT_TRUE(cache_.Contains({1, 7}));
}

TEST_F(UnitCacheTest, AReleasedUnitIsNotDecodedAhead) {
  LoadAhead(7);
  cache_.NoteHandedOver({1, 7});
  EXPECT_FALSE(cache_.Contains({1, 7}));
  EXPECT_EQ(budget_.used(), 0u);
  LoadAhead(7);
  EXPECT_FALSE(cache_.Contains({1, 7}));
}

TEST_F(UnitCacheTest, AUnitThatIsReleasedBeforeItsLoadEndsIsNotKept) {
  ASSERT_TRUE(cache_.Get({1, 7}, {true, 0}, [&](const auto&) -> Result<UnitPtr> {
    UnitPtr unit = Make(7);
    cache_.NoteHandedOver({1, 7});
    return unit;
  }));
  EXPECT_FALSE(cache_.Contains({1, 7}));
  EXPECT_EQ(stats_.handed_over.Get(), 1u);
  EXPECT_EQ(budget_.used(), 0u);
}

TEST_F(UnitCacheTest, AUnitThatIsReadWholeAtOnceIsNotKeptAtAll) {
  ASSERT_TRUE(HandOver(7, kUnit));
  EXPECT_FALSE(cache_.Contains({1, 7}));
  LoadAhead(8);
  ASSERT_TRUE(HandOver(8, kUnit));
  EXPECT_FALSE(cache_.Contains({1, 8}));
  EXPECT_EQ(loads_, 1);
  EXPECT_EQ(stats_.ahead_useful.Get(), 1u);
}

TEST_F(UnitCacheTest, AUnitThatIsReadWithoutTheKernelsCacheIsKept) {
  ASSERT_TRUE(Load(7));
  ASSERT_TRUE(Load(7));
  EXPECT_TRUE(cache_.Contains({1, 7}));
}

TEST_F(UnitCacheTest, DroppingAFileDropsItsUnitsAndNoOthers) {
  const UnitKey other{2, 0};
  cache_.Insert(other, Make(0));
  for (const uint64_t offset : {0U, 1000U, 2000U}) {
    ASSERT_TRUE(Load(offset));
  }
  const auto pinned = Load(1000);
  cache_.DropFile(1);
  EXPECT_EQ(budget_.used(), 2 * kUnit) << "the other file's, and what a reader holds";
  EXPECT_TRUE(cache_.Contains(other));
  EXPECT_FALSE(cache_.Contains({1, 1000}));
  EXPECT_EQ((*pinned)->bytes().size(), kUnit);
  cache_.DropFile(3);
}

TEST_F(UnitCacheTest, StaysWithinTheBudget) {
  for (uint64_t offset = 0; offset < 100; ++offset) {
    ASSERT_TRUE(Load(offset));
    EXPECT_LE(budget_.used(), budget_.total());
  }
  EXPECT_LE(budget_.peak(), budget_.total());
  EXPECT_EQ(stats_.evictions.Get(), 90u);
}

TEST_F(UnitCacheTest, EvictedUnitStaysReadableAndChargedWhilePinned) {
  const auto pinned = Load(0);
  ASSERT_TRUE(pinned);
  for (uint64_t offset = 1; offset < 50; ++offset) {
    ASSERT_TRUE(Load(offset));
  }
  EXPECT_EQ((*pinned)->bytes()[0], std::byte{0});
  EXPECT_TRUE(cache_.Contains({1, 0})) << "dropping a pinned unit frees nothing";
}

TEST_F(UnitCacheTest, AScanDoesNotFlushUnitsThatWereVisitedTwice) {
  for (int visit = 0; visit < 2; ++visit) {
    for (uint64_t offset = 0; offset < 4; ++offset) {
      ASSERT_TRUE(Load(offset));
    }
  }
  for (uint64_t offset = 100; offset < 200; ++offset) {
    ASSERT_TRUE(Load(offset));
    ASSERT_TRUE(Load(offset, /*new_visit=*/false)) << "the next piece of the same pass";
  }
  for (uint64_t offset = 0; offset < 4; ++offset) {
    EXPECT_TRUE(cache_.Contains({1, offset})) << offset;
  }
}

TEST_F(UnitCacheTest, ManyPiecesOfOnePassAreOneVisit) {
  for (uint64_t offset = 0; offset < 4; ++offset) {
    for (int piece = 0; piece < 8; ++piece) {
      ASSERT_TRUE(Load(offset, /*new_visit=*/piece == 0));
    }
  }
  for (uint64_t offset = 100; offset < 120; ++offset) {
    ASSERT_TRUE(Load(offset));
  }
  for (uint64_t offset = 0; offset < 4; ++offset) {
    EXPECT_FALSE(cache_.Contains({1, offset})) << offset;
  }
}

TEST_F(UnitCacheTest, TheFirstVisitCountsOnceInWhateverOrderItsPiecesArrive) {
  for (uint64_t offset = 0; offset < 4; ++offset) {
    LoadAhead(offset);
    ASSERT_TRUE(Load(offset, /*new_visit=*/false)) << "the second piece is served first";
    ASSERT_TRUE(Load(offset, /*new_visit=*/true));
  }
  for (uint64_t offset = 100; offset < 120; ++offset) {
    ASSERT_TRUE(Load(offset));
  }
  for (uint64_t offset = 0; offset < 4; ++offset) {
    EXPECT_FALSE(cache_.Contains({1, offset})) << offset;
  }
}

TEST_F(UnitCacheTest, UnitsThatAreReadAgainCannotTakeMoreThanHalf) {
  for (int visit = 0; visit < 3; ++visit) {
    for (uint64_t offset = 0; offset < 10; ++offset) {
      ASSERT_TRUE(Load(offset));
    }
  }
  int left = 0;
  for (uint64_t offset = 100; offset < 150; ++offset) {
    ASSERT_TRUE(Load(offset));
  }
  for (uint64_t offset = 0; offset < 10; ++offset) {
    left += cache_.Contains({1, offset}) ? 1 : 0;
  }
  EXPECT_EQ(left, 5);
}

TEST_F(UnitCacheTest, ConcurrentReadersOfOneUnitDecodeItOnce) {
  constexpr int kReaders = 8;
  std::latch loading(1);
  std::latch go_on(1);
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  const auto read = [&] {
    const auto unit = cache_.Get({1, 3}, {true, 0}, [&](const auto&) -> Result<UnitPtr> {
      ++loads_;
      loading.count_down();
      go_on.wait();
      return Make(3);
    });
    right += unit && (*unit)->bytes()[0] == std::byte{3} ? 1 : 0;
  };
  threads.emplace_back(read);
  loading.wait();
  for (int i = 1; i < kReaders; ++i) {
    threads.emplace_back(read);
  }
  while (stats_.single_flight_joins.Get() != kReaders - 1) {
    std::this_thread::yield();
  }
  go_on.count_down();
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(right, kReaders);
  EXPECT_EQ(loads_, 1);
}

TEST_F(UnitCacheTest, WaitersGetTheErrorAndItIsNotKept) {
  const auto failed = cache_.Get(
      {1, 3}, {true, 0}, [](const auto&) -> Result<UnitPtr> { return Fail(EIO, "broken"); });
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, EIO);
  EXPECT_TRUE(Load(3));
}

TEST_F(UnitCacheTest, ALoaderThatRunsOutOfMemoryIsAnErrorNotAHang) {
  const auto failed =
      cache_.Get({1, 3}, {true, 0}, [](const auto&) -> Result<UnitPtr> { throw std::bad_alloc(); });
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ENOMEM);
  EXPECT_TRUE(Load(3));
}

TEST_F(UnitCacheTest, AFailedDecodeAheadNeverReachesAReader) {
  std::latch loading(1);
  std::latch go_on(1);
  std::thread ahead([&] {
    cache_.LoadAhead({1, 3}, kUnit, [&](const auto&) -> Result<UnitPtr> {
      loading.count_down();
      go_on.wait();
      return Fail(EAGAIN, "not now");
    });
  });
  loading.wait();
  Result<UnitPtr> unit = nullptr;
  std::thread reader([&] { unit = Load(3); });
  while (stats_.single_flight_joins.Get() == 0) {
    std::this_thread::yield();
  }
  go_on.count_down();
  ahead.join();
  reader.join();
  EXPECT_TRUE(unit);
  EXPECT_EQ(loads_, 1);
}

TEST_F(UnitCacheTest, DecodeAheadThatIsReadIsUseful) {
  LoadAhead(1);
  ASSERT_TRUE(Load(1));
  EXPECT_EQ(loads_, 0);
  EXPECT_EQ(stats_.ahead_useful.Get(), 1u);
  EXPECT_EQ(stats_.ahead_wasted.Get(), 0u);
}

TEST_F(UnitCacheTest, DecodeAheadHoldsAtMostAQuarterOfTheBudget) {
  for (uint64_t offset = 0; offset < 10; ++offset) {
    LoadAhead(offset);
  }
  EXPECT_EQ(budget_.used(), 2 * kUnit);
}

TEST_F(UnitCacheTest, DecodeAheadDoesNotEvictUnitsThatAreReadAgain) {
  for (int visit = 0; visit < 2; ++visit) {
    for (uint64_t offset = 0; offset < 5; ++offset) {
      ASSERT_TRUE(Load(offset));
    }
  }
  const MemoryCharge others(budget_, 5 * kUnit);
  LoadAhead(100);
  EXPECT_FALSE(cache_.Contains({1, 100}));
}

TEST_F(UnitCacheTest, DecodeAheadForAReaderThatLeftMakesRoomForOthers) {
  LoadAhead(0);
  LoadAhead(1);
  LoadAhead(2);
  ASSERT_FALSE(cache_.Contains({1, 2})) << "over the quarter";
  cache_.ReleaseAhead(1);
  LoadAhead(2);
  EXPECT_TRUE(cache_.Contains({1, 2}));
  EXPECT_TRUE(cache_.Contains({1, 0})) << "evicted first, but only when there is no room";
  for (uint64_t offset = 100; offset < 108; ++offset) {
    ASSERT_TRUE(Load(offset));
  }
  EXPECT_FALSE(cache_.Contains({1, 0}));
  EXPECT_EQ(stats_.ahead_wasted.Get(), 1u);
}

TEST_F(UnitCacheTest, DecodersCannotPushOutTheLastQuarter) {
  for (uint64_t offset = 0; offset < 10; ++offset) {
    ASSERT_TRUE(Load(offset));
  }
  const MemoryCharge decoder = budget_.Reserve(50 * kUnit);
  EXPECT_EQ(stats_.evictions.Get(), 8u);
  ASSERT_TRUE(Load(20));
  EXPECT_TRUE(cache_.Contains({1, 20}));
}

TEST_F(UnitCacheTest, ReservingForOthersEvictsUnits) {
  for (uint64_t offset = 0; offset < 10; ++offset) {
    ASSERT_TRUE(Load(offset));
  }
  const MemoryCharge decoder = budget_.Reserve(4 * kUnit);
  EXPECT_EQ(budget_.used(), budget_.total());
  EXPECT_EQ(stats_.evictions.Get(), 4u);
}

TEST_F(UnitCacheTest, ManyThreadsOnFewUnitsGetRightBytesWithinTheBudget) {
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      uint64_t random = t + 1;
      for (int i = 0; i < 3000; ++i) {
        random = random * 6364136223846793005U + 1442695040888963407U;
        const uint64_t offset = (random >> 33) % 40;
        if (random % 3 == 0) {
          LoadAhead(offset);
        }
        const auto unit = Load(offset);
        if (!unit || (*unit)->bytes()[0] != static_cast<std::byte>(offset)) {
          ++wrong;
        }
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_LE(budget_.peak(), budget_.total() + 4 * kUnit);
}

}  // namespace
}  // namespace xzfs
