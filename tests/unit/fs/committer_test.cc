#include "fs/committer.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "base/idle_priority.h"
#include "support/priority.h"

namespace xzfs {
namespace {

using Outcome = Committer::Outcome;

// Stands for the files: the results of their commits, and how often each was tried.
class CommitterTest : public testing::Test {
 protected:
  std::unique_ptr<Committer> Make(std::chrono::nanoseconds settle, unsigned threads = 2) {
    auto committer = std::make_unique<Committer>(
        threads, settle,
        Committer::Calls{.commit = [this](NodeId id, CommitFor whom) { return Commit(id, whom); },
                         .pin = [this](NodeId) { return ++pins_ > 0; },
                         .unpin = [this](NodeId) { --pins_; },
                         .on_idle = [this] { ++idle_; },
                         .has_given_up = [this](NodeId) { return gives_up_.load(); }});
    committer->Start();
    return committer;
  }

  Result<Outcome> Commit(NodeId id, CommitFor whom) {
    for (int i = 0; i < yields_; ++i) {
      std::this_thread::yield();
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    ++tries_[id];
    awaited_[id] = whom == CommitFor::kCaller;
    if (needs_waiter_ && whom == CommitFor::kNobody) {
      return Outcome::kLeft;
    }
    const auto error = errors_.find(id);
    if (error != errors_.end()) {
      return Fail(error->second, "no");
    }
    ++done_[id];
    return Outcome::kDone;
  }

  int TriesOf(NodeId id) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return tries_[id];
  }
  int DoneOf(NodeId id) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return done_[id];
  }
  void SetError(NodeId id, int code) {
    const std::lock_guard<std::mutex> lock(mutex_);
    code == 0 ? static_cast<void>(errors_.erase(id)) : static_cast<void>(errors_[id] = code);
  }
  static void WaitUntil(const std::function<bool()>& condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!condition()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline);
      std::this_thread::yield();
    }
  }

  static constexpr std::chrono::hours kNever{1};
  std::atomic<int> pins_ = 0;
  std::atomic<int> idle_ = 0;
  std::atomic<bool> gives_up_ = false;
  bool needs_waiter_ = false;
  int yields_ = 0;  // in each commit

 private:
  std::mutex mutex_;
  std::map<NodeId, int> tries_;
  std::map<NodeId, int> done_;
  std::map<NodeId, bool> awaited_;
  std::map<NodeId, int> errors_;
};

TEST_F(CommitterTest, AGivenUpFileIsReportedToItsWaitersAndTriedWhenItIsAddedAgain) {
  const auto committer = Make(kNever);
  SetError(1, EPERM);
  gives_up_ = true;
  EXPECT_EQ(committer->CommitNow(1, 100).error().code, EPERM);
  EXPECT_EQ(committer->figures().pending, 0U);
  EXPECT_TRUE(committer->Pending().empty());
  EXPECT_TRUE(committer->Sync());
  EXPECT_EQ(TriesOf(1), 1);
  WaitUntil([this] { return pins_ == 0; });
  SetError(1, 0);
  EXPECT_TRUE(committer->CommitNow(1, 100));
  EXPECT_EQ(DoneOf(1), 1);
}

TEST_F(CommitterTest, AFileIsCommittedOnceWhenItHasSettled) {
  const auto committer = Make(std::chrono::milliseconds(1));
  committer->Add(7, 100);
  WaitUntil([&] { return idle_ == 1; });
  EXPECT_EQ(DoneOf(7), 1);
  EXPECT_EQ(committer->figures().pending, 0U);
  WaitUntil([&] { return pins_ == 0; });
}

TEST_F(CommitterTest, AFileThatHasNotSettledIsPending) {
  const auto committer = Make(kNever);
  committer->Add(1, 10);
  committer->Add(2, 20);
  committer->Add(1, 15);
  EXPECT_EQ(committer->figures().pending, 2U);
  EXPECT_EQ(committer->figures().pending_bytes, 35U);
  EXPECT_EQ(pins_, 2);
  EXPECT_EQ(TriesOf(1), 0);
}

TEST_F(CommitterTest, SyncDoesNotWaitForFilesToSettle) {
  const auto committer = Make(kNever);
  for (NodeId id = 1; id <= 50; ++id) {
    committer->Add(id, 1);
  }
  EXPECT_TRUE(committer->Sync());
  for (NodeId id = 1; id <= 50; ++id) {
    EXPECT_EQ(DoneOf(id), 1) << id;
  }
  EXPECT_EQ(committer->figures().pending, 0U);
}

TEST_F(CommitterTest, SyncCommitsAFileOnceThoughItBeginsWhileSyncWaitsForAnother) {
  yields_ = 100;
  const auto committer = Make(kNever);
  constexpr int kRounds = 100;
  for (int round = 1; round <= kRounds; ++round) {
    for (NodeId id = 1; id <= 20; ++id) {
      committer->Add(id, 1);
    }
    ASSERT_TRUE(committer->Sync());
  }
  for (NodeId id = 1; id <= 20; ++id) {
    EXPECT_EQ(DoneOf(id), kRounds) << id;
  }
}

TEST_F(CommitterTest, AnAttemptKnowsItsWaitersHoweverFastItIs) {
  needs_waiter_ = true;
  const auto committer = Make(std::chrono::nanoseconds(0));
  for (NodeId id = 1; id <= 200; ++id) {
    ASSERT_TRUE(committer->CommitNow(id, 1));
    ASSERT_GE(DoneOf(id), 1) << id;
  }
  for (NodeId id = 201; id <= 400; ++id) {
    committer->Add(id, 1, CommitFor::kCaller);
    ASSERT_TRUE(committer->Sync());
    // Twice if Sync came while it was being committed: it waits for an attempt that began later.
    ASSERT_GE(DoneOf(id), 1) << id;
  }
}

TEST_F(CommitterTest, AFailureIsReportedToItsWaitersAndTheFileStaysPending) {
  const auto committer = Make(kNever);
  SetError(3, EIO);
  const Status failed = committer->CommitNow(3, 1);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, EIO);
  EXPECT_EQ(committer->figures().pending, 1U);
  EXPECT_FALSE(committer->figures().last_error.empty());
  committer->Add(4, 1);
  EXPECT_FALSE(committer->Sync());
  EXPECT_EQ(DoneOf(4), 1) << "the failure of another file is not in the way";
  SetError(3, 0);
  EXPECT_TRUE(committer->Sync());
  EXPECT_EQ(DoneOf(3), 1);
}

TEST_F(CommitterTest, AfterAFullDiskOtherFilesWaitUntilACallerAsks) {
  const auto committer = Make(std::chrono::nanoseconds(0), /*threads=*/1);
  SetError(1, ENOSPC);
  committer->Add(1, 1);
  WaitUntil([&] { return !committer->figures().last_error.empty(); });
  committer->Add(2, 1);
  EXPECT_EQ(committer->figures().pending, 2U);
  EXPECT_FALSE(committer->Sync());
  EXPECT_EQ(DoneOf(2), 1);
}

TEST_F(CommitterTest, WaitersLearnOfAFullDiskAtOnceHoweverManyFilesFail) {
  const auto committer = Make(kNever, /*threads=*/1);
  const auto begin = std::chrono::steady_clock::now();
  for (NodeId id = 1; id <= 20; ++id) {
    SetError(id, ENOSPC);
    committer->Add(id, 1);
  }
  EXPECT_EQ(committer->Sync().error().code, ENOSPC);
  EXPECT_EQ(committer->CommitNow(7, 1).error().code, ENOSPC);
  // With pauses of 2, 4, 8, ... s it would take many minutes.
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
  SetError(7, 0);
  EXPECT_TRUE(committer->CommitNow(7, 1)) << "there is room again";
}

// Holds each commit until it's opened.
class HeldCommitter {
 public:
  explicit HeldCommitter(unsigned threads)
      : committer(threads, std::chrono::hours(1),
                  {.commit = [this](NodeId id, CommitFor) -> Result<Outcome> {
                     const IdlePriority computes;
                     thread = gettid();
                     ++begun;
                     may_go_.wait();
                     return id == failing ? Result<Outcome>(Fail(EIO, "no")) : Outcome::kDone;
                   },
                   .pin = [](NodeId) { return true; },
                   .unpin = [](NodeId) {},
                   .on_idle = [] {}}) {
    committer.Start();
  }
  ~HeldCommitter() { Open(); }
  void Open() {
    if (!std::exchange(is_open_, true)) {
      gate_.set_value();
    }
  }

 private:
  bool is_open_ = false;
  std::promise<void> gate_;
  const std::shared_future<void> may_go_ = gate_.get_future();

 public:
  std::atomic<int> begun = 0;
  std::atomic<pid_t> thread = 0;
  NodeId failing = 0;
  Committer committer;
};

TEST_F(CommitterTest, ManyWaitersNeedNoThreadsAndEachIsCalledOnce) {
  constexpr int kWaiters = 1000;
  HeldCommitter held(2);
  std::atomic<int> synced = 0;
  std::atomic<int> committed = 0;
  for (int i = 0; i < kWaiters; ++i) {
    held.committer.CommitNow(static_cast<NodeId>(1 + i % 10), 1, [&](const Status& status) {
      EXPECT_TRUE(status);
      ++committed;
    });
    held.committer.Sync([&](const Status& status) {
      EXPECT_TRUE(status);
      ++synced;
    });
  }
  WaitUntil([&] { return held.begun == 2; });
  EXPECT_EQ(synced, 0);
  EXPECT_EQ(committed, 0);
  held.Open();
  WaitUntil([&] { return synced == kWaiters && committed == kWaiters; });
  EXPECT_EQ(held.committer.figures().pending, 0U);
}

TEST_F(CommitterTest, WaitersLearnOnlyOfAttemptsThatBeganLater) {
  HeldCommitter held(1);
  held.failing = 1;
  held.committer.Add(1, 1, CommitFor::kCaller);
  std::atomic<int> told = 0;
  std::vector<int> codes(3);
  const auto note = [&](size_t at) {
    return [&, at](const Status& status) {
      codes[at] = status ? 0 : status.error().code;
      ++told;
    };
  };
  held.committer.CommitNow(1, 1, note(0));
  WaitUntil([&] { return held.begun == 1; });
  held.committer.Sync(note(1));  // the attempt is running, so this waits for another one
  held.committer.CommitNow(2, 1, note(2));
  held.Open();
  WaitUntil([&] { return told == 3; });
  EXPECT_EQ(codes, (std::vector<int>{EIO, EIO, 0}));
  EXPECT_EQ(held.begun, 3) << "two attempts of the first file, one of the other";
}

// At idle priority a commit may not end for minutes on a busy machine.
TEST_F(CommitterTest, AwaitedCommitsDoNotRunAtIdlePriority) {
  for (const bool is_for_all : {false, true}) {
    HeldCommitter held(1);
    held.committer.SetSettle(std::chrono::nanoseconds(0));
    held.committer.Add(1, 0);
    WaitUntil([&] { return held.begun == 1; });
    EXPECT_EQ(sched_getscheduler(held.thread), LowestPolicy());
    std::promise<Status> told;
    const auto tell = [&told](const Status& status) { told.set_value(status); };
    is_for_all ? held.committer.Sync(tell) : held.committer.CommitNow(1, 0, tell);
    EXPECT_EQ(sched_getscheduler(held.thread), SCHED_OTHER);
    held.Open();
    EXPECT_TRUE(told.get_future().get());
  }
}

TEST_F(CommitterTest, TheEndAnswersAllWaiters) {
  HeldCommitter held(1);
  std::atomic<int> told = 0;
  const auto note = [&](const Status& status) {
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, ESHUTDOWN);
    ++told;
  };
  held.committer.CommitNow(1, 1, note);
  held.committer.Sync(note);
  held.committer.Park();
  EXPECT_EQ(told, 2);
  held.committer.Sync(note);
  held.committer.CommitNow(2, 1, note);
  EXPECT_EQ(told, 4);
}

TEST_F(CommitterTest, TheEndCommitsAllPendingFilesExceptThoseThatFail) {
  const auto committer = Make(kNever);
  SetError(2, EIO);
  EXPECT_FALSE(committer->CommitNow(2, 1));
  committer->Add(1, 1);
  committer->End(Committer::Ending::kWhenDone);
  EXPECT_EQ(DoneOf(1), 1);
  EXPECT_EQ(committer->Pending(), std::vector<NodeId>{2});
  committer->Add(3, 1);
  EXPECT_EQ(TriesOf(3), 0) << "after the end nothing is taken";
  EXPECT_EQ(pins_, 1);
}

TEST_F(CommitterTest, ParkingEndsAnEndThatWaits) {
  class Gate {
   public:
    void Open() { promise_.set_value(); }
    void Wait() { future_.wait(); }

   private:
    std::promise<void> promise_;
    std::shared_future<void> future_ = promise_.get_future();
  };
  Gate entered;
  Gate may_go;
  Committer committer(1, std::chrono::nanoseconds(0),
                      {.commit = [&](NodeId, CommitFor) -> Result<Outcome> {
                         entered.Open();
                         may_go.Wait();
                         return Outcome::kCancelled;
                       },
                       .pin = [](NodeId) { return true; },
                       .unpin = [](NodeId) {},
                       .on_idle = [] {}});
  committer.Start();
  committer.Add(1, 1);
  committer.Add(2, 1);
  entered.Wait();
  std::thread end([&] { committer.End(Committer::Ending::kWhenDone); });
  committer.Park();
  may_go.Open();
  end.join();
  EXPECT_EQ(committer.Pending().size(), 2U);
}

}  // namespace
}  // namespace xzfs
