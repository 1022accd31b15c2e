#include "base/idle_priority.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <future>
#include <memory>
#include <optional>
#include <thread>

#include "support/priority.h"

namespace xzfs {
namespace {

int PolicyOf(pid_t thread) { return sched_getscheduler(thread); }
int Policy() { return PolicyOf(0); }

TEST(IdlePriorityTest, LastsAsLongAsItsScopeAndIsSuspendedAtNormalPriority) {
  std::thread([] {
    {
      const IdlePriority idle;
      EXPECT_EQ(Policy(), LowestPolicy());
      {
        const AtNormalPriority normal;
        EXPECT_EQ(Policy(), SCHED_OTHER);
      }
      EXPECT_EQ(Policy(), LowestPolicy());
    }
    EXPECT_EQ(Policy(), SCHED_OTHER);
    const AtNormalPriority normal;  // has no effect here
    EXPECT_EQ(Policy(), SCHED_OTHER);
  }).join();
}

TEST(IdlePriorityTest, ARunningThreadRisesWhileAnyThreadWaitsForItsWorkAndFallsAfterwards) {
  std::promise<pid_t> computes;
  std::promise<void> ends;
  std::thread thread([&] {
    const IdlePriority idle;
    computes.set_value(gettid());
    ends.get_future().wait();
  });
  const pid_t id = computes.get_future().get();
  EXPECT_EQ(PolicyOf(id), LowestPolicy());
  auto first = std::make_unique<AwaitedWork>();
  auto second = std::make_unique<AwaitedWork>();
  EXPECT_EQ(PolicyOf(id), SCHED_OTHER);
  first.reset();
  EXPECT_EQ(PolicyOf(id), SCHED_OTHER) << "one still waits";
  std::thread([] {
    const IdlePriority idle;
    EXPECT_EQ(Policy(), SCHED_OTHER) << "a thread waits already";
  }).join();
  second.reset();
  EXPECT_EQ(PolicyOf(id), LowestPolicy());
  ends.set_value();
  thread.join();
}

TEST(IdlePriorityTest, LowPriorityIsNotIdlePriorityAndAffectsOnlyItsThread) {
  const int before = getpriority(PRIO_PROCESS, 0);
  std::thread([before] {
    UseLowPriority();
    EXPECT_EQ(Policy(), SCHED_OTHER);
    EXPECT_GT(getpriority(PRIO_PROCESS, 0), before);
  }).join();
  EXPECT_EQ(getpriority(PRIO_PROCESS, 0), before);
}

}  // namespace
}  // namespace xzfs
