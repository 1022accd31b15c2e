#include "cache/readahead.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace xzfs {
namespace {

constexpr uint64_t kKiB = 1024;
constexpr uint64_t kUnit = 1024 * kKiB;

// Plans all wanted units of kUnit bytes; returns how many there were.
unsigned Plan(Readahead& readahead) {
  unsigned planned = 0;
  while (readahead.Wanted() != 0) {
    const uint64_t begin = readahead.next_offset() / kUnit * kUnit;
    readahead.Planned(begin, begin + kUnit);
    ++planned;
  }
  return planned;
}

TEST(ReadaheadTest, TheFirstReadOfAFilePlansNothing) {
  Readahead readahead;
  EXPECT_FALSE(readahead.Observe(0, 128 * kKiB));
  EXPECT_EQ(readahead.Wanted(), 0u);
}

TEST(ReadaheadTest, GrowsToEightUnitsAsTheReaderArrives) {
  Readahead readahead;
  unsigned most = 0;
  unsigned first = 0;
  for (uint64_t at = 0; at < 64 * kUnit; at += 128 * kKiB) {
    readahead.Observe(at, at + 128 * kKiB);
    const unsigned wanted = readahead.Wanted();
    if (first == 0) {
      first = wanted;
    }
    most = std::max(most, wanted);
    Plan(readahead);
    EXPECT_LE(readahead.next_offset(), at + 128 * kKiB + 9 * kUnit);
    if (at > 20 * kUnit) {
      EXPECT_GE(readahead.next_offset(), at + 6 * kUnit);
    }
  }
  EXPECT_EQ(first, 2u);
  EXPECT_LE(most, 8u);
}

TEST(ReadaheadTest, AJumpStopsItAtOnce) {
  Readahead readahead;
  for (uint64_t at = 0; at < 8 * kUnit; at += 128 * kKiB) {
    readahead.Observe(at, at + 128 * kKiB);
    Plan(readahead);
  }
  const uint64_t before = readahead.generation();
  EXPECT_FALSE(readahead.Observe(500 * kUnit, 500 * kUnit + 4 * kKiB));
  EXPECT_EQ(readahead.Wanted(), 0u);
  EXPECT_NE(readahead.generation(), before);
}

TEST(ReadaheadTest, RandomReadsPlanNothing) {
  Readahead readahead;
  for (const uint64_t unit : {5u, 90u, 3u, 44u, 81u, 7u}) {
    EXPECT_FALSE(readahead.Observe(unit * kUnit, unit * kUnit + 4 * kKiB));
    EXPECT_EQ(readahead.Wanted(), 0u);
  }
}

TEST(ReadaheadTest, TheKernelsParallelRequestsAreStillSequential) {
  Readahead readahead;
  const uint64_t order[] = {0, 1, 3, 2, 4, 6, 5, 7};
  for (const uint64_t request : order) {
    readahead.Observe(request * 128 * kKiB, (request + 1) * 128 * kKiB);
  }
  EXPECT_EQ(readahead.generation(), 0u);
  EXPECT_EQ(readahead.Wanted(), 2u);
}

TEST(ReadaheadTest, ManyRequestsInAnyOrderAreStillSequential) {
  Readahead readahead;
  std::mt19937 random(3);
  std::vector<uint64_t> requests;
  for (uint64_t request = 0; request < 12; ++request) {
    requests.push_back(request);
  }
  for (uint64_t batch = 0; batch < 20; ++batch) {
    std::shuffle(requests.begin(), requests.end(), random);
    for (const uint64_t request : requests) {
      const uint64_t at = (batch * 12 + request) * 128 * kKiB;
      readahead.Observe(at, at + 128 * kKiB);
    }
  }
  EXPECT_EQ(readahead.generation(), 0u);
  EXPECT_NE(readahead.Wanted(), 0u);
}

TEST(ReadaheadTest, RandomReadsOfASmallFileAreNotSequential) {
  Readahead readahead;
  std::mt19937 random(3);
  for (int i = 0; i < 1000; ++i) {
    const uint64_t at = random() % kUnit;
    EXPECT_FALSE(readahead.Observe(at, at + 100));
  }
}

TEST(ReadaheadTest, EachUnitOfAPassIsEnteredOnce) {
  Readahead readahead;
  int entered = 0;
  for (const uint64_t request : {1u, 0u, 3u, 2u, 8u, 5u, 4u, 7u, 6u, 9u}) {
    const uint64_t at = request * 128 * kKiB;
    readahead.Observe(at, at + 128 * kKiB);
    entered += readahead.Enter(at / kUnit * kUnit, at / kUnit * kUnit + kUnit) ? 1 : 0;
  }
  EXPECT_EQ(entered, 2);
}

TEST(ReadaheadTest, GoingBackwardsIsNotSequential) {
  Readahead readahead;
  for (uint64_t at = 64 * kUnit; at >= kUnit; at -= kUnit) {
    EXPECT_FALSE(readahead.Observe(at, at + 128 * kKiB));
    EXPECT_EQ(readahead.Wanted(), 0u);
  }
}

}  // namespace
}  // namespace xzfs
