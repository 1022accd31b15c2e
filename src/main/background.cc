#include "main/background.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>

#include "base/unmount.h"
#include "main/signals.h"

namespace xzfs {
namespace {

// How long a child may take to end after a signal. Unmounting takes milliseconds; a child that
// needs seconds hangs.
constexpr auto kEndDeadline = std::chrono::seconds(5);
constexpr auto kPollInterval = std::chrono::milliseconds(5);

// Waits for the child's end and returns its status; kills it if that takes too long.
int Reap(pid_t child) {
  const auto deadline = std::chrono::steady_clock::now() + kEndDeadline;
  int status = 0;
  while (waitpid(child, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() >= deadline) {
      kill(child, SIGKILL);
      while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
      }
      break;
    }
    std::this_thread::sleep_for(kPollInterval);
  }
  return status;
}

std::string DescribeEnd(int status) {
  return WIFSIGNALED(status) ? "was killed by signal " + std::to_string(WTERMSIG(status))
                             : "ended with code " + std::to_string(WEXITSTATUS(status));
}

ExitCode WaitForChild(int signal_fd, pid_t child, int pipe, const std::string& mountpoint) {
  if (!WaitForOther(signal_fd, pipe)) {
    kill(child, SIGTERM);
    Reap(child);
    LazyUnmountIfStale(mountpoint);
    return PrintRefusal({ExitCode::kInterrupted, "interrupted before the mount was ready"});
  }
  const std::optional<Refusal> report = ReadStartReport(pipe);
  if (report && report->code == ExitCode::kSuccess) {
    return ExitCode::kSuccess;
  }
  const int status = Reap(child);
  if (report) {
    return PrintRefusal(*report);
  }
  LazyUnmountIfStale(mountpoint);
  return PrintRefusal({ExitCode::kInternal, "the background process " + DescribeEnd(status) +
                                                " before the mount was ready"});
}

}  // namespace

ExitCode PrintRefusal(const Refusal& refusal) {
  std::fprintf(stderr, "xzfs: %s\n", refusal.message.c_str());
  return refusal.code;
}

ExitCode RunInBackground(int signal_fd, const std::string& mountpoint,
                         const std::function<ExitCode(StartReporter&)>& daemon) {
  auto ends = MakePipe();
  if (!ends) {
    return PrintRefusal({ExitCode::kSystem, ends.error().message});
  }
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child < 0) {
    return PrintRefusal({ExitCode::kSystem, std::string("fork: ") + std::strerror(errno)});
  }
  if (child > 0) {
    ends->second.Reset();  // else the death of the child would not close the pipe
    return WaitForChild(signal_fd, child, ends->first.get(), mountpoint);
  }
  setsid();
  ends->first.Reset();
  StartReporter reporter(std::move(ends->second));
  return daemon(reporter);
}

}  // namespace xzfs
