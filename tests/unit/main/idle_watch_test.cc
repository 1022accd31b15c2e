#include "main/idle_watch.h"

#include <gtest/gtest.h>

#include <chrono>
#include <optional>

namespace xzfs {
namespace {

using std::chrono_literals::operator""h;
using std::chrono_literals::operator""min;
using std::chrono_literals::operator""s;
using Duration = IdleWatch::Clock::duration;

class IdleWatchTest : public testing::Test {
 protected:
  std::optional<Duration> LookAfter(Duration time) {
    now_ += time;
    return watch_.Look();
  }

  IdleWatch::Clock::time_point now_{1000s};
  IdleWatch::Clock::time_point last_request_ = now_;
  Duration idle_ = 10min;
  bool is_settled_ = true;
  bool is_used_ = false;
  int attempts_ = 0;
  IdleWatch watch_{{.now = [this] { return now_; },
                    .idle = [this] { return idle_; },
                    .last_request = [this] { return last_request_; },
                    .is_settled = [this] { return is_settled_; },
                    .try_unmount =
                        [this] {
                          ++attempts_;
                          return !is_used_;
                        }}};
};

TEST_F(IdleWatchTest, UnmountsWhenNoRequestCameForThatLong) {
  EXPECT_EQ(LookAfter(0s), 10min);
  EXPECT_EQ(LookAfter(9min), 1min);
  EXPECT_EQ(attempts_, 0);
  EXPECT_EQ(LookAfter(1min), std::nullopt);
  EXPECT_EQ(attempts_, 1);
  EXPECT_EQ(LookAfter(1h), std::nullopt) << "it is unmounted already";
  EXPECT_EQ(attempts_, 1);
}

TEST_F(IdleWatchTest, ARequestBeginsTheTimeAgain) {
  now_ += 9min;
  last_request_ = now_;
  EXPECT_EQ(LookAfter(1min), 9min);
  EXPECT_EQ(attempts_, 0);
}

TEST_F(IdleWatchTest, WithoutTheOptionNothingIsEverUnmounted) {
  idle_ = 0s;
  EXPECT_EQ(LookAfter(1h), std::nullopt);
  EXPECT_EQ(attempts_, 0);
}

TEST_F(IdleWatchTest, AnOptionThatIsSetLaterCounts) {
  idle_ = 0s;
  EXPECT_EQ(LookAfter(1h), std::nullopt);
  idle_ = 2h;
  EXPECT_EQ(LookAfter(0s), 1h);
  EXPECT_EQ(LookAfter(1h), std::nullopt);
  EXPECT_EQ(attempts_, 1);
}

TEST_F(IdleWatchTest, AMountThatIsInUseIsTriedAgainLater) {
  is_used_ = true;
  EXPECT_EQ(LookAfter(10min), 1min) << "no longer than this, however long the option says";
  EXPECT_EQ(LookAfter(30s), 30s) << "not before";
  EXPECT_EQ(attempts_, 1);
  is_used_ = false;
  EXPECT_EQ(LookAfter(30s), std::nullopt);
  EXPECT_EQ(attempts_, 2);
}

TEST_F(IdleWatchTest, AfterAnAttemptInVainARequestBeginsTheTimeAgain) {
  is_used_ = true;
  LookAfter(10min);
  last_request_ = now_;
  EXPECT_EQ(LookAfter(1min), 9min);
  EXPECT_EQ(attempts_, 1);
}

TEST_F(IdleWatchTest, NoAttemptIsMadeWhileFilesWaitToBeCompressed) {
  is_settled_ = false;
  EXPECT_EQ(LookAfter(10min), 1min);
  EXPECT_EQ(attempts_, 0);
  is_settled_ = true;
  EXPECT_EQ(LookAfter(1min), std::nullopt);
  EXPECT_EQ(attempts_, 1);
}

TEST_F(IdleWatchTest, AttemptsAreNeverCloserThanASecond) {
  idle_ = std::chrono::milliseconds(1);
  is_used_ = true;
  EXPECT_EQ(LookAfter(10min), 1s);
}

}  // namespace
}  // namespace xzfs
