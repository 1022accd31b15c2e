#include "main/start_report.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

namespace xzfs {
namespace {

struct Pipe {
  Pipe() {
    auto ends = MakePipe();
    EXPECT_TRUE(ends);
    out = std::move(ends->first);
    in = std::move(ends->second);
  }
  UniqueFd out;
  UniqueFd in;
};

TEST(StartReport, TellsReadinessWhileTheDaemonKeepsThePipeOpen) {
  Pipe pipe;
  const UniqueFd kept(dup(pipe.in.get()));
  StartReporter reporter(std::move(pipe.in));
  reporter.Ready();
  const auto report = ReadStartReport(pipe.out.get());
  ASSERT_TRUE(report);
  EXPECT_EQ(report->code, ExitCode::kSuccess);
}

TEST(StartReport, CarriesTheReasonWhileTheDaemonKeepsThePipeOpen) {
  Pipe pipe;
  const UniqueFd kept(dup(pipe.in.get()));
  StartReporter reporter(std::move(pipe.in));
  reporter.Refused({ExitCode::kMountFailed, "/m: no"});
  const auto report = ReadStartReport(pipe.out.get());
  ASSERT_TRUE(report);
  EXPECT_EQ(report->code, ExitCode::kMountFailed);
  EXPECT_EQ(report->message, "/m: no");
}

TEST(StartReport, CutsALongReason) {
  Pipe pipe;
  StartReporter(std::move(pipe.in)).Refused({ExitCode::kSystem, std::string(5000, 'x')});
  const auto report = ReadStartReport(pipe.out.get());
  ASSERT_TRUE(report);
  EXPECT_EQ(report->code, ExitCode::kSystem);
  EXPECT_EQ(report->message, std::string(StartReporter::kMaxTextBytes, 'x'));
}

TEST(StartReport, CountsOnceOnly) {
  Pipe pipe;
  StartReporter reporter(std::move(pipe.in));
  reporter.Ready();
  reporter.Refused({ExitCode::kInternal, "late"});
  EXPECT_EQ(ReadStartReport(pipe.out.get())->code, ExitCode::kSuccess);
  EXPECT_FALSE(ReadStartReport(pipe.out.get()));
}

TEST(StartReport, IsMissingWhenTheDaemonDiesSilently) {
  Pipe pipe;
  { StartReporter reporter(std::move(pipe.in)); }
  EXPECT_FALSE(ReadStartReport(pipe.out.get()));
}

}  // namespace
}  // namespace xzfs
