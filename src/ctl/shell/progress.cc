#include "ctl/shell/progress.h"

#include <fmt/core.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "base/units.h"

namespace xzfs {
namespace {

constexpr int kPeriodMs = 1000;
// Before this the speed is understated, and the time left isn't shown: the first files say little
// about the others.
constexpr double kLeastSeconds = 0.5;

sigset_t OurSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGUSR1, SIGINT, SIGTERM, SIGHUP}) {
    sigaddset(&set, number);
  }
  return set;
}

}  // namespace

Progress::Progress(Console& console, Mode mode) : console_(console) {
  const bool shows = mode == Mode::kAlways || (mode == Mode::kAuto && console.stderr_is_terminal());
  const sigset_t set = OurSignals();
  signals_ = UniqueFd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  end_ = UniqueFd(eventfd(0, EFD_CLOEXEC));
  if (!signals_.valid() || !end_.valid()) {
    return;  // no progress then, and signals end the process: that is safe at any time
  }
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  thread_ = std::thread([this, shows] { Watch(shows); });
}

Progress::~Progress() {
  if (!thread_.joinable()) {
    return;
  }
  const uint64_t one = 1;
  if (write(end_.get(), &one, sizeof one) == sizeof one) {
    thread_.join();
  }
  if (console_.stderr_is_terminal()) {
    console_.ShowStatus("");
  }
}

void Progress::Declare(Arguments& arguments, std::string& value) {
  arguments.Choice("--progress", value, {"auto", "always", "never"},
                   "show progress on stderr (default: on a terminal)");
}

Progress::Mode Progress::ModeOf(const std::string& value) {
  if (value == "always") {
    return Mode::kAlways;
  }
  return value == "never" ? Mode::kNever : Mode::kAuto;
}

void WorkFigures::AddTotal(uint64_t files, uint64_t bytes) {
  total_files_ += files;
  total_bytes_ += bytes;
}

void WorkFigures::AddDone(uint64_t files, uint64_t in_bytes, uint64_t out_bytes) {
  files_ += files;
  in_bytes_ += in_bytes;
  out_bytes_ += out_bytes;
}

void Progress::Watch(bool shows) {
  auto next = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPeriodMs);
  for (;;) {
    struct pollfd wanted[2] = {{.fd = end_.get(), .events = POLLIN, .revents = 0},
                               {.fd = signals_.get(), .events = POLLIN, .revents = 0}};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        next - std::chrono::steady_clock::now());
    poll(wanted, 2, shows ? std::clamp(static_cast<int>(left.count()), 0, kPeriodMs) : -1);
    if (wanted[0].revents != 0) {
      return;
    }
    if (wanted[1].revents != 0) {
      TakeSignal();
    }
    if (shows && std::chrono::steady_clock::now() >= next) {
      console_.ShowStatus(figures_.Line());
      next += std::chrono::milliseconds(kPeriodMs);
    }
  }
}

void Progress::TakeSignal() {
  struct signalfd_siginfo info = {};
  while (read(signals_.get(), &info, sizeof info) == sizeof info) {
    const int number = static_cast<int>(info.ssi_signo);
    if (number == SIGUSR1) {
      console_.PrintStatus(figures_.Line());
      continue;
    }
    if (cancelled_.exchange(true)) {
      _exit(128 + number);
    }
    signal_ = number;
  }
}

std::string WorkFigures::Line() const {
  const uint64_t files = files_;
  const uint64_t in = in_bytes_;
  const uint64_t out = out_bytes_;
  const uint64_t total = total_bytes_;
  const std::chrono::duration<double> since = std::chrono::steady_clock::now() - began_;
  const double speed = static_cast<double>(in) / std::max(since.count(), kLeastSeconds);
  std::string line;
  if (complete_ && total != 0) {
    const double share = static_cast<double>(in) / static_cast<double>(total);
    line += fmt::format("{:>5.1f} %  ", std::min(share * 100, 100.0));
  }
  line += std::to_string(files) + "/" + std::to_string(total_files_) + (complete_ ? "" : "+") +
          " files  " + FormatSize(in) + " -> " + FormatSize(out);
  if (in != 0) {
    const double ratio = static_cast<double>(out) / static_cast<double>(in);
    line += fmt::format("  {:.3f}  {}/s", ratio, FormatSize(static_cast<uint64_t>(speed)));
  }
  if (complete_ && in != 0 && total > in && since.count() > kLeastSeconds) {
    line += "  " + FormatDuration(static_cast<double>(total - in) / speed) + " left";
  }
  return line;
}

}  // namespace xzfs
