// One thread waits for the next second and for signals, which come as bytes of a signalfd: so no
// code of ours runs in a signal handler. The jobs only add to counters.
//
// The line is made of parts, which have ranks. Those of the best rank are taken first, as long as
// there is room for them and for some of the file's name; the name gets what is left. On a terminal
// the line is one column shorter than the terminal is wide, as a full line would scroll it. When
// the width changes (SIGWINCH) the line is made again at once.
#include "ctl/shell/progress.h"

#include <fmt/core.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "base/log.h"
#include "base/units.h"
#include "ctl/shell/text_width.h"

namespace xzfs {
namespace {

constexpr int kPeriodMs = 1000;
// Before this the speed is understated, and the time left isn't shown: the first files say little
// about the others.
constexpr double kLeastSeconds = 0.5;

// Between the parts of the line.
constexpr const char* kGap = "  ";
constexpr size_t kGapColumns = 2;
constexpr int kMostRank = 6;
// A name that is cut to fewer columns says nothing.
constexpr size_t kLeastCut = 4;

sigset_t OurSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGUSR1, SIGWINCH, SIGINT, SIGTERM, SIGHUP}) {
    sigaddset(&set, number);
  }
  return set;
}

}  // namespace

Progress::Progress(Console& console, Mode mode, Makes makes)
    : console_(console),
      figures_(makes),
      line_([this](size_t columns) { return figures_.Line(columns); }) {
  Start(mode);
}

Progress::Progress(Console& console, Mode mode, Line line)
    : console_(console), figures_(Makes::kSame), line_(std::move(line)) {
  Start(mode);
}

void Progress::Start(Mode mode) {
  const bool shows =
      mode == Mode::kAlways || (mode == Mode::kAuto && console_.stderr_is_terminal());
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
  bool is_shown = false;  // a line that a new width of the terminal may break
  for (;;) {
    struct pollfd wanted[2] = {{.fd = end_.get(), .events = POLLIN, .revents = 0},
                               {.fd = signals_.get(), .events = POLLIN, .revents = 0}};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        next - std::chrono::steady_clock::now());
    poll(wanted, 2, shows ? std::clamp(static_cast<int>(left.count()), 0, kPeriodMs) : -1);
    if (wanted[0].revents != 0) {
      return;
    }
    if (wanted[1].revents != 0 && TakeSignals() && is_shown) {
      console_.ShowStatus(line_(console_.status_columns()));
    }
    if (shows && std::chrono::steady_clock::now() >= next) {
      console_.ShowStatus(line_(console_.status_columns()));
      is_shown = console_.stderr_is_terminal();
      next += std::chrono::milliseconds(kPeriodMs);
    }
  }
}

bool Progress::TakeSignals() {
  bool is_resized = false;
  struct signalfd_siginfo info = {};
  while (read(signals_.get(), &info, sizeof info) == sizeof info) {
    const int number = static_cast<int>(info.ssi_signo);
    if (number == SIGWINCH) {
      is_resized = true;
      continue;
    }
    if (number == SIGUSR1) {
      console_.PrintStatus(line_(SIZE_MAX));
      continue;
    }
    if (cancelled_.exchange(true)) {
      _exit(128 + number);
    }
    signal_ = number;
  }
  return is_resized;
}

void WorkFigures::Begin(const std::string& path) {
  MutexLock lock(mutex_);
  file_ = path;
}

// A part of the line. Those of a lower rank are left out last.
struct WorkFigures::Part {
  int rank;
  std::string text;
  bool is_shown = false;
};

std::vector<WorkFigures::Part> WorkFigures::Parts() const {
  const uint64_t in = in_bytes_;
  const uint64_t out = out_bytes_;
  const uint64_t total = total_bytes_;
  const bool is_known = complete_ && total != 0;
  const std::chrono::duration<double> since = std::chrono::steady_clock::now() - began_;
  const double seconds = std::max(since.count(), kLeastSeconds);
  std::vector<Part> parts;
  if (is_known) {
    const double share = static_cast<double>(in) / static_cast<double>(total);
    parts.push_back({0, fmt::format("{:>5.1f} %", std::min(share * 100, 100.0))});
  }
  parts.push_back({is_known ? 5 : 1, fmt::format("{}/{}{} files", files_.load(),
                                                 total_files_.load(), complete_ ? "" : "+")});
  parts.push_back({2, FormatSize(in) + " -> " + FormatSize(out)});
  if (in != 0) {
    const uint64_t plain = makes_ == Makes::kPlain ? out : in;
    const uint64_t compressed = makes_ == Makes::kPlain ? in : out;
    if (makes_ != Makes::kSame && plain != 0) {
      const double ratio = static_cast<double>(compressed) / static_cast<double>(plain);
      parts.push_back({6, fmt::format("{:.3f}", ratio)});
    }
    const double speed = static_cast<double>(plain) / seconds;
    parts.push_back({4, FormatSize(static_cast<uint64_t>(speed)) + "/s"});
  }
  if (is_known && in != 0 && total > in && since.count() > kLeastSeconds) {
    const double left = static_cast<double>(total - in) / static_cast<double>(in) * seconds;
    parts.push_back({3, FormatDuration(left) + " left"});
  }
  return parts;
}

std::string WorkFigures::Line(size_t columns) const {
  std::string file;
  {
    MutexLock lock(mutex_);
    file = Printable(file_);
  }
  std::vector<Part> parts = Parts();
  // So much of the name is worth more than the next part.
  constexpr size_t kLeastName = 10;
  const size_t for_name = file.empty() ? 0 : std::min(ColumnsOf(file), kLeastName) + kGapColumns;
  size_t used = 0;
  for (int rank = 0; rank <= kMostRank; ++rank) {
    for (Part& part : parts) {
      const size_t gap = used == 0 ? 0 : kGapColumns;
      const size_t kept_free = rank <= 1 ? 0 : for_name;
      if (part.rank == rank && columns >= used + gap + part.text.size() + kept_free) {
        part.is_shown = true;
        used += gap + part.text.size();
      }
    }
  }
  std::string line;
  for (const Part& part : parts) {
    if (part.is_shown) {
      line += (line.empty() ? "" : kGap) + part.text;
    }
  }
  if (!file.empty() && !line.empty() && columns > used + kGapColumns + kLeastCut) {
    line += kGap + CutAtFront(file, columns - used - kGapColumns);
  }
  return line;
}

}  // namespace xzfs
