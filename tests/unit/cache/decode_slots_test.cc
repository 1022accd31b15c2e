#include "cache/decode_slots.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace xzfs {
namespace {

TEST(DecodeSlotsTest, NeverMoreAtOnceThanSlots) {
  DecodeSlots slots(2);
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) {
        const DecodeSlots::Hold hold(
            slots, t % 2 == 0 ? DecodeSlots::Priority::kReader : DecodeSlots::Priority::kAhead);
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

TEST(DecodeSlotsTest, AReaderGoesBeforeDecodeAhead) {
  DecodeSlots slots(1);
  std::atomic<int> waiting{0};
  std::vector<char> order;
  std::vector<std::thread> threads;
  {
    const DecodeSlots::Hold hold(slots, DecodeSlots::Priority::kReader);
    threads.emplace_back([&] {
      ++waiting;
      const DecodeSlots::Hold mine(slots, DecodeSlots::Priority::kAhead);
      order.push_back('a');
    });
    threads.emplace_back([&] {
      ++waiting;
      const DecodeSlots::Hold mine(slots, DecodeSlots::Priority::kReader);
      order.push_back('r');
    });
    while (!slots.HasWaitingReaderForTest() || waiting != 2) {
      std::this_thread::yield();
    }
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(order, (std::vector<char>{'r', 'a'}));
}

}  // namespace
}  // namespace xzfs
