#include "base/worker_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <latch>
#include <thread>

namespace xzfs {
namespace {

TEST(WorkerPoolTest, RunsEveryTaskThatItAccepted) {
  WorkerPool pool(2, 1000);
  pool.Start();
  std::atomic<int> ran{0};
  int taken = 0;
  for (int i = 0; i < 500; ++i) {
    taken += pool.TrySubmit([&] { ++ran; }) ? 1 : 0;
  }
  pool.WaitIdle();
  EXPECT_EQ(ran, taken);
  EXPECT_EQ(taken, 500);
}

TEST(WorkerPoolTest, RefusesTasksBeforeStart) {
  WorkerPool pool(1, 10);
  EXPECT_FALSE(pool.TrySubmit([] {}));
}

TEST(WorkerPoolTest, RefusesTasksWhenItsQueueIsFull) {
  WorkerPool pool(1, 2);
  pool.Start();
  std::latch started(1);
  std::latch go_on(1);
  ASSERT_TRUE(pool.TrySubmit([&] {
    started.count_down();
    go_on.wait();
  }));
  started.wait();
  EXPECT_TRUE(pool.TrySubmit([] {}));
  EXPECT_TRUE(pool.TrySubmit([] {}));
  EXPECT_FALSE(pool.TrySubmit([] {}));
  go_on.count_down();
  pool.WaitIdle();
  EXPECT_TRUE(pool.TrySubmit([] {}));
}

TEST(WorkerPoolTest, TheLastSetNumberOfTasksRunAtOnce) {
  WorkerPool pool(1, 10);
  pool.Start();
  pool.SetThreads(3);
  std::latch three(3);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(pool.TrySubmit([&] { three.arrive_and_wait(); }));  // ends if three are running
  }
  pool.WaitIdle();
  pool.SetThreads(1);
  std::atomic<int> running{0};
  std::atomic<int> most{0};
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(pool.TrySubmit([&] {
      most = std::max(most.load(), ++running);
      std::this_thread::yield();
      --running;
    }));
  }
  pool.WaitIdle();
  EXPECT_EQ(most, 1);
}

TEST(WorkerPoolTest, DropsWaitingTasksWhenItIsDestroyed) {
  std::atomic<int> ran{0};
  std::latch started(1);
  std::latch go_on(1);
  {
    WorkerPool pool(1, 10);
    pool.Start();
    pool.TrySubmit([&] {
      started.count_down();
      go_on.wait();
      ++ran;
    });
    started.wait();
    pool.TrySubmit([&] { ++ran; });
    go_on.count_down();
  }
  EXPECT_GE(ran, 1);
}

}  // namespace
}  // namespace xzfs
