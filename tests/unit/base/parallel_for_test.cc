#include "base/parallel_for.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

namespace xzfs {
namespace {

TEST(ParallelForTest, CallsTheBodyOnceForEachNumber) {
  WorkerPool pool(3, 64);
  pool.Start();
  for (const size_t count : {0U, 1U, 3U, 4U, 5U, 1000U}) {
    std::vector<std::atomic<int>> calls(count);
    ParallelFor(pool, 3, count, [&](size_t i) { ++calls[i]; });
    for (const auto& times : calls) {
      EXPECT_EQ(times, 1);
    }
  }
}

TEST(ParallelForTest, DoesAllItselfWithoutThreads) {
  WorkerPool pool(1, 64);
  std::set<std::thread::id> threads;
  size_t calls = 0;
  ParallelFor(pool, 3, 100, [&](size_t) {
    threads.insert(std::this_thread::get_id());
    ++calls;
  });
  EXPECT_EQ(calls, 100U);
  EXPECT_EQ(threads, std::set<std::thread::id>{std::this_thread::get_id()});
}

TEST(ParallelForTest, DoesNotWaitForThreadsThatAreBusyWithOtherWork) {
  WorkerPool pool(1, 64);
  pool.Start();
  std::mutex busy;
  busy.lock();
  ASSERT_TRUE(pool.TrySubmit([&] { const std::lock_guard<std::mutex> wait(busy); }));
  size_t calls = 0;
  ParallelFor(pool, 1, 100, [&](size_t) { ++calls; });
  EXPECT_EQ(calls, 100U);
  busy.unlock();
  pool.WaitIdle();  // the helper that came too late has touched nothing
  EXPECT_EQ(calls, 100U);
}

TEST(ParallelForTest, AThreadOfThePoolHelps) {
  WorkerPool pool(1, 64);
  pool.Start();
  std::atomic<bool> helped{false};
  const std::thread::id caller = std::this_thread::get_id();
  ParallelFor(pool, 1, 2 * 4, [&](size_t) {
    if (std::this_thread::get_id() != caller) {
      helped = true;
    }
    while (!helped) {
      std::this_thread::yield();  // ends when the helper has begun
    }
  });
  EXPECT_TRUE(helped);
}

TEST(ParallelForTest, SeveralCallersShareOnePool) {
  WorkerPool pool(2, 4);
  pool.Start();
  std::atomic<size_t> sum{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t) {
    callers.emplace_back([&] {
      for (int round = 0; round < 200; ++round) {
        ParallelFor(pool, 2, 50, [&](size_t i) { sum += i; });
      }
    });
  }
  for (std::thread& caller : callers) {
    caller.join();
  }
  EXPECT_EQ(sum, 4U * 200 * (49 * 50 / 2));
}

}  // namespace
}  // namespace xzfs
