#include "fs/commit_failures.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace xzfs {
namespace {

TEST(CommitFailuresTest, CountsEachFileOnceAndGivenUpFilesSeparately) {
  CommitFailures failures;
  EXPECT_FALSE(failures.Note({1, EBUSY, "busy", false}));
  EXPECT_FALSE(failures.Note({2, EPERM, "no", true}));
  EXPECT_EQ(failures.count(), 2U);
  EXPECT_EQ(failures.given_up(), 1U);
  EXPECT_EQ(failures.Note({1, EPERM, "no", true})->message, "busy");
  EXPECT_EQ(failures.Note({2, EBUSY, "busy", false})->code, EPERM);
  EXPECT_EQ(failures.count(), 2U);
  EXPECT_EQ(failures.given_up(), 1U);
  EXPECT_TRUE(failures.Clear(1)->is_given_up);
  EXPECT_FALSE(failures.Clear(1));
  EXPECT_EQ(failures.count(), 1U);
  EXPECT_EQ(failures.given_up(), 0U);
  EXPECT_EQ(failures.Find(2)->message, "busy");
}

TEST(CommitFailuresTest, ReportsNoMoreThanRequested) {
  CommitFailures failures;
  for (NodeId node = 1; node <= 30; ++node) {
    failures.Note({node, EPERM, "no", true});
  }
  EXPECT_EQ(failures.First(20).size(), 20U);
  EXPECT_EQ(failures.First(50).size(), 30U);
}

}  // namespace
}  // namespace xzfs
