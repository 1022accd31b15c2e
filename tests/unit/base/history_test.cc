#include "base/history.h"

#include <gtest/gtest.h>

#include <chrono>

#include "base/read_times.h"

namespace xzfs {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

uint64_t Reads(const History::Figures& figures) {
  uint64_t reads = 0;
  for (const uint64_t count : figures.reads) {
    reads += count;
  }
  return reads;
}

TEST(ReadTimesTest, EachTimeIsBelowTheBoundOfItsBucketAndNotBelowTheOneBefore) {
  for (uint64_t us = 0; us < 100'000; ++us) {
    const size_t bucket = ReadTimes::BucketOf(us * 1000);
    ASSERT_LT(us, ReadTimes::UpperBoundUs(bucket));
    ASSERT_TRUE(bucket == 0 || us >= ReadTimes::UpperBoundUs(bucket - 1)) << us;
  }
  EXPECT_EQ(ReadTimes::BucketOf(UINT64_MAX), ReadTimes::kBuckets - 1);
}

TEST(ReadTimesTest, QuantilesMatchTheAddedTimes) {
  ReadTimes times;
  EXPECT_EQ(ReadTimes::QuantileUs(times.counts(), 0.5), 0U);
  for (int i = 0; i < 98; ++i) {
    times.Add(10'000);  // 10 us: from 8 to 12
  }
  times.Add(5'000'000);
  times.Add(5'000'000);  // 5 ms: from 4.096 to 6.144
  EXPECT_EQ(ReadTimes::QuantileUs(times.counts(), 0.5), 12U);
  EXPECT_EQ(ReadTimes::QuantileUs(times.counts(), 0.98), 12U);
  EXPECT_EQ(ReadTimes::QuantileUs(times.counts(), 0.99), 6144U);
  EXPECT_EQ(times.total_ns(), 98U * 10'000 + 2 * 5'000'000);
}

class HistoryTest : public testing::Test {
 protected:
  // `count` reads that end now.
  void Read(uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      times_.Add(1000);
      stats_.cache_hits.Add();
      history_.Note(now_);
    }
  }

  Stats stats_;
  ReadTimes times_;
  History::Clock::time_point now_ = History::Clock::time_point(seconds(1000));
  History history_{stats_, times_, now_};
};

TEST_F(HistoryTest, ASampleHasTheReadsOfItsTime) {
  now_ += milliseconds(500);
  Read(3);
  now_ += milliseconds(600);
  Read(1);  // one second is over: this is the last of the first sample
  now_ += milliseconds(100);
  Read(5);
  const auto samples = history_.Samples(now_);
  ASSERT_EQ(samples.size(), 2U);
  EXPECT_EQ(Reads(samples[0].figures), 4U);
  EXPECT_EQ(samples[0].figures.hits, 4U);
  EXPECT_EQ(samples[0].end - samples[0].begin, milliseconds(1100));
  EXPECT_EQ(Reads(samples[1].figures), 5U);
  EXPECT_EQ(samples[1].end, now_);
}

TEST_F(HistoryTest, TimeWithoutReadsBelongsToNoSample) {
  Read(1);
  now_ += seconds(3600);
  Read(1);
  now_ += milliseconds(10);
  Read(1);
  const auto samples = history_.Samples(now_);
  ASSERT_EQ(samples.size(), 2U);
  EXPECT_EQ(samples[0].end - samples[0].begin, seconds(2));
  EXPECT_EQ(samples[1].begin, now_ - milliseconds(10));
}

TEST_F(HistoryTest, TheNumberOfSamplesIsBoundedAndNoReadIsLost) {
  uint64_t reads = 0;
  for (int second = 0; second < 5000; ++second) {
    now_ += seconds(1);
    Read(2);
    reads += 2;
    ASSERT_LE(history_.Samples(now_).size(), History::kMostSamples + 1);
  }
  uint64_t told = 0;
  auto end = History::Clock::time_point(seconds(1000));
  for (const auto& sample : history_.Samples(now_)) {
    EXPECT_EQ(sample.begin, end);
    end = sample.end;
    told += Reads(sample.figures);
  }
  EXPECT_EQ(end, now_);
  EXPECT_EQ(told, reads);
}

}  // namespace
}  // namespace xzfs
