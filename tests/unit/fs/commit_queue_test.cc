#include "fs/commit_queue.h"

#include <gtest/gtest.h>

#include <chrono>

namespace xzfs {
namespace {

using std::chrono::hours;
using Clock = CommitQueue::Clock;

constexpr NodeId kFile = 5;

TEST(CommitQueue, AFileIsNewOnlyWhileItIsNotPending) {
  CommitQueue queue(hours(1));
  EXPECT_TRUE(queue.Enter(kFile, 10).second);
  EXPECT_FALSE(queue.Enter(kFile, 20).second);
  EXPECT_EQ(queue.At(kFile).plain_bytes, 20U);
  queue.Remove(kFile);
  EXPECT_TRUE(queue.empty());
  EXPECT_TRUE(queue.Enter(kFile, 10).second);
}

TEST(CommitQueue, AFileIsDueWhenItHasSettled) {
  Clock::time_point until;
  CommitQueue slow(hours(1));
  const Clock::time_point before = Clock::now();
  slow.ScheduleSettled(kFile, *slow.Enter(kFile, 10).first);
  EXPECT_FALSE(slow.NextDue(&until));
  EXPECT_GE(until, before + hours(1));
  EXPECT_EQ(slow.NextAtEnd(), kFile);
  CommitQueue quick(hours(0));
  quick.ScheduleSettled(kFile, *quick.Enter(kFile, 10).first);
  EXPECT_EQ(quick.NextDue(&until), kFile);
}

TEST(CommitQueue, NothingIsDueAtAnyTimeWhereNothingIsScheduled) {
  CommitQueue queue(hours(0));
  Clock::time_point until;
  EXPECT_FALSE(queue.NextDue(&until));
  EXPECT_EQ(until, Clock::time_point::max());
}

TEST(CommitQueue, AFileIsTakenOnceUntilItIsScheduledAgain) {
  CommitQueue queue(hours(0));
  Clock::time_point until;
  queue.ScheduleNow(kFile, *queue.Enter(kFile, 10).first);
  CommitQueue::Entry& entry = queue.Take(kFile);
  EXPECT_FALSE(queue.NextDue(&until));
  queue.ScheduleNow(kFile, entry);
  EXPECT_FALSE(queue.NextDue(&until)) << "its attempt has not ended";
  entry.running = false;
  queue.ScheduleNow(kFile, entry);
  EXPECT_EQ(queue.NextDue(&until), kFile);
}

TEST(CommitQueue, AFullDiskDelaysAllFilesExceptThoseThatAreAwaited) {
  CommitQueue queue(hours(0));
  Clock::time_point until;
  queue.Pause();
  queue.ScheduleSettled(kFile, *queue.Enter(kFile, 10).first);
  EXPECT_FALSE(queue.NextDue(&until));
  queue.ScheduleNow(kFile + 1, *queue.Enter(kFile + 1, 10).first);
  EXPECT_EQ(queue.NextDue(&until), kFile + 1);
  queue.Take(kFile + 1);
  queue.EndPause();
  EXPECT_EQ(queue.NextDue(&until), kFile);
}

TEST(CommitQueue, EachFailureDelaysTheNextAttemptLongerAndTheEndLeavesItOut) {
  CommitQueue queue(hours(0));
  Clock::time_point first;
  Clock::time_point second;
  CommitQueue::Entry& entry = *queue.Enter(kFile, 10).first;
  entry.failures = 1;
  queue.ScheduleRetry(kFile, entry);
  EXPECT_FALSE(queue.NextDue(&first));
  entry.failures = 4;
  queue.ScheduleRetry(kFile, entry);
  EXPECT_FALSE(queue.NextDue(&second));
  EXPECT_GT(second, first);
  EXPECT_FALSE(queue.NextAtEnd());
}

TEST(CommitQueue, OthersThatAreWrittenDelayASettledFileATimeThatHasAnEnd) {
  CommitQueue queue(hours(1));
  Clock::time_point until;
  CommitQueue::Entry& old = *queue.Enter(kFile, 10).first;
  queue.ScheduleSettled(kFile, old);
  queue.Enter(kFile + 1, 10);
  old.entered -= hours(100);
  old.failures = 0;
  queue.SetSettle(hours(0));
  EXPECT_FALSE(queue.NextDue(&until)) << "it settles as long as it was to settle";
  queue.ScheduleSettled(kFile, old);
  queue.SetSettle(hours(1));
  EXPECT_EQ(queue.NextDue(&until), kFile);
}

}  // namespace
}  // namespace xzfs
