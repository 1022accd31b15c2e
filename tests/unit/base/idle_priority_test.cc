#include "base/idle_priority.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <future>
#include <thread>

namespace xzfs {
namespace {

int Policy() { return sched_getscheduler(0); }

// EndIdlePriority is for the whole process and for ever, so all of it is one test.
TEST(IdlePriorityTest, LastsUntilItIsEndedAndIsLeftWhereOthersWait) {
  const int before = Policy();
  std::promise<void> lowered;
  std::promise<void> ended;
  std::thread waits([&] {
    UseIdlePriority();
    EXPECT_EQ(Policy(), SCHED_IDLE);
    {
      const AtNormalPriority normal;
      // Without the right to rise it stays where it is.
      EXPECT_TRUE(Policy() == SCHED_OTHER || geteuid() != 0);
    }
    EXPECT_EQ(Policy(), SCHED_IDLE);
    lowered.set_value();
    ended.get_future().wait();
    EXPECT_TRUE(Policy() == SCHED_OTHER || geteuid() != 0);
  });
  lowered.get_future().wait();
  EXPECT_EQ(Policy(), before) << "of another thread";
  EndIdlePriority();
  ended.set_value();
  waits.join();
  std::thread late([before] {
    UseIdlePriority();
    EXPECT_EQ(Policy(), before);
  });
  late.join();
}

}  // namespace
}  // namespace xzfs
