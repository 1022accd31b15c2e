#include "base/turns.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "support/waiting_threads.h"

namespace xzfs {
namespace {

TEST(TurnsTest, NeverMoreAtOnceThanTurns) {
  Turns turns(2);
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) {
        const Turns::Hold hold(turns, t % 2 == 0 ? Turns::Priority::kHigh : Turns::Priority::kLow);
        const int now = ++inside;
        int seen = most.load();
        while (now > seen && !most.compare_exchange_weak(seen, now)) {
        }
        --inside;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_LE(most, 2);
}

TEST(TurnsTest, HighPriorityGoesBeforeLow) {
  Turns turns(1);
  std::vector<char> order;
  const auto work = [&](char name, Turns::Priority priority) {
    const Turns::Hold hold(turns, priority);
    order.push_back(name);
  };
  std::thread low;
  std::thread high;
  {
    const Turns::Hold hold(turns, Turns::Priority::kHigh);
    low = std::thread([&] { work('l', Turns::Priority::kLow); });
    EXPECT_TRUE(WaitUntilAllOthersWait());
    high = std::thread([&] { work('h', Turns::Priority::kHigh); });
    EXPECT_TRUE(WaitUntilAllOthersWait());
  }
  low.join();
  high.join();
  EXPECT_EQ(order, (std::vector<char>{'h', 'l'}));
}

}  // namespace
}  // namespace xzfs
