#include "base/parallel_for.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <set>
#include <stdexcept>
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

// The caller and a helper are both in `body` when one of them throws.
void ThrowWhileBothAreIn(bool caller_throws) {
  WorkerPool pool(1, 64);
  pool.Start();
  const std::thread::id caller = std::this_thread::get_id();
  std::atomic<int> inside{0};
  std::atomic<bool> throws{false};
  const auto body = [&](size_t) {
    ++inside;
    while (inside != 2 && !throws) {
      std::this_thread::yield();  // ends when the other one has arrived
    }
    const bool is_caller = std::this_thread::get_id() == caller;
    if (is_caller == caller_throws) {
      throws = true;
    }
    while (!throws) {
      std::this_thread::yield();
    }
    --inside;
    if (is_caller == caller_throws) {
      throw std::runtime_error("body");
    }
  };
  EXPECT_THROW(ParallelFor(pool, 1, 1000, body, 1), std::runtime_error);
  EXPECT_EQ(inside, 0);
}

TEST(ParallelForTest, AnExceptionReachesTheCallerWhenAllHaveLeftTheBody) {
  ThrowWhileBothAreIn(/*caller_throws=*/true);
  ThrowWhileBothAreIn(/*caller_throws=*/false);
}

TEST(ParallelForTest, NoCallBeginsAfterAnException) {
  WorkerPool pool(1, 64);
  size_t calls = 0;
  const auto body = [&](size_t i) {
    ++calls;
    if (i == 5) {
      throw std::runtime_error("body");
    }
  };
  EXPECT_THROW(ParallelFor(pool, 1, 1000, body), std::runtime_error);
  EXPECT_EQ(calls, 6U);
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
