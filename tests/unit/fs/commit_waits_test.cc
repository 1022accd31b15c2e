#include "fs/commit_waits.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <map>
#include <string>
#include <utility>

#include "base/fail.h"

namespace xzfs {
namespace {

class CommitWaitsTest : public testing::Test {
 protected:
  CommitWaits::Done Tell(const std::string& name) {
    return [this, name](const Status& status) { told_[name] = status ? 0 : status.error().code; };
  }
  // Returns what was told since the last call: 0 or the error's code, by waiter.
  std::map<std::string, int> Told() {
    for (auto& [done, status] : std::exchange(ended_, {})) {
      done(status);
    }
    return std::exchange(told_, {});
  }

  using Expected = std::map<std::string, int>;
  CommitWaits waits_;
  CommitWaits::Ended ended_;
  std::map<std::string, int> told_;
};

TEST_F(CommitWaitsTest, AFailureEndsTheWaitsThatBeganBeforeTheAttemptAlone) {
  CommitWaits::File file;
  waits_.Enter(file);
  waits_.Add(file, Tell("early"));
  waits_.AddSync(1, Tell("early sync"));
  waits_.Begin(file);
  waits_.Add(file, Tell("late"));
  waits_.AddSync(1, Tell("late sync"));
  waits_.EndEarlier(file, Fail(EIO, "no"), ended_);
  EXPECT_EQ(Told(), (Expected{{"early", EIO}, {"early sync", EIO}}));
  EXPECT_TRUE(waits_.IsWaitedFor(file));
  waits_.Begin(file);
  waits_.EndAllOf(file, {}, ended_);
  EXPECT_EQ(Told(), (Expected{{"late", 0}, {"late sync", 0}}));
  EXPECT_FALSE(waits_.IsWaitedFor(file));
}

TEST_F(CommitWaitsTest, ASyncEndsWithItsLastFileAndTellsTheFirstError) {
  CommitWaits::File a;
  CommitWaits::File b;
  CommitWaits::File c;
  for (CommitWaits::File* const file : {&a, &b, &c}) {
    waits_.Enter(*file);
  }
  waits_.AddSync(3, Tell("sync"));
  waits_.Begin(a);
  waits_.EndEarlier(a, Fail(EIO, "no"), ended_);
  EXPECT_FALSE(waits_.IsWaitedFor(a)) << "its failure was told already";
  waits_.EndAllOf(b, Fail(EPERM, "never"), ended_);
  EXPECT_EQ(Told(), Expected{});
  waits_.EndAllOf(c, {}, ended_);
  EXPECT_EQ(Told(), (Expected{{"sync", EIO}}));
}

TEST_F(CommitWaitsTest, ASyncDoesNotWaitForAFileThatBecamePendingLater) {
  CommitWaits::File old;
  CommitWaits::File later;
  waits_.Enter(old);
  waits_.AddSync(1, Tell("sync"));
  waits_.Enter(later);
  EXPECT_TRUE(waits_.IsWaitedFor(old));
  EXPECT_FALSE(waits_.IsWaitedFor(later));
  waits_.EndAllOf(later, {}, ended_);
  EXPECT_EQ(Told(), Expected{});
  waits_.EndAllOf(old, {}, ended_);
  EXPECT_EQ(Told(), (Expected{{"sync", 0}}));
}

TEST_F(CommitWaitsTest, SyncsWaitTogetherUntilSomethingHappens) {
  CommitWaits::File file;
  waits_.Enter(file);
  EXPECT_TRUE(waits_.AddSync(1, Tell("one")));
  EXPECT_FALSE(waits_.AddSync(1, Tell("two")));
  waits_.Begin(file);
  EXPECT_TRUE(waits_.AddSync(1, Tell("three")));
  waits_.EndAllOf(file, {}, ended_);
  EXPECT_EQ(Told(), (Expected{{"one", 0}, {"two", 0}, {"three", 0}}));
}

TEST_F(CommitWaitsTest, TheEndTellsEachWaiterOnce) {
  CommitWaits::File file;
  waits_.Enter(file);
  waits_.Add(file, Tell("own"));
  waits_.AddSync(1, Tell("sync"));
  CommitWaits::EndOwn(file, Fail(ESHUTDOWN, "end"), ended_);
  waits_.EndSyncs(Fail(ESHUTDOWN, "end"), ended_);
  EXPECT_EQ(Told(), (Expected{{"own", ESHUTDOWN}, {"sync", ESHUTDOWN}}));
  waits_.EndAllOf(file, {}, ended_);
  EXPECT_EQ(Told(), Expected{});
}

}  // namespace
}  // namespace xzfs
