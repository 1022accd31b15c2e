// Measures on the user's own files what compressing them would save and cost.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/machine.h"
#include "base/mutex.h"
#include "base/units.h"
#include "ctl/bench/bench_grid.h"
#include "ctl/bench/bench_report.h"
#include "ctl/bench/bench_sample.h"
#include "ctl/commands/commands.h"
#include "ctl/replace/encoding.h"
#include "ctl/replace/tree.h"
#include "ctl/shell/json.h"
#include "ctl/shell/progress.h"

namespace xzfs {
namespace {

constexpr unsigned kDefaultSeconds = 20;
constexpr unsigned kMostSeconds = 86400;
// The share of the time for the search.
constexpr int kWalkShare = 4;

// Shows how much was measured and how long it goes on: at most once a second. Thread-safe.
class BenchStatus {
 public:
  using Clock = std::chrono::steady_clock;

  BenchStatus(Console& console, Progress::Mode mode, Clock::time_point end)
      : console_(console),
        shows_(mode == Progress::Mode::kAlways ||
               (mode == Progress::Mode::kAuto && console.stderr_is_terminal())),
        end_(end) {}

  void AddPart(uint64_t bytes) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    bytes_ += bytes;
    ++parts_;
    const auto now = Clock::now();
    if (shows_ && now >= next_) {
      next_ = now + std::chrono::seconds(1);
      const std::chrono::duration<double> left = std::max(end_ - now, Clock::duration::zero());
      console_.ShowStatus("measured " + FormatSize(bytes_) + " in " + std::to_string(parts_) +
                          (parts_ == 1 ? " part, " : " parts, ") + FormatDuration(left.count()) +
                          " left");
    }
  }

  void End() {
    if (shows_ && console_.stderr_is_terminal()) {
      console_.ShowStatus("");
    }
  }

 private:
  Console& console_;
  const bool shows_;
  const Clock::time_point end_;
  Mutex mutex_;
  uint64_t bytes_ GUARDED_BY(mutex_) = 0;
  uint64_t parts_ GUARDED_BY(mutex_) = 0;
  Clock::time_point next_ GUARDED_BY(mutex_);
};

class BenchCommand : public Command {
 public:
  void Declare(Arguments& arguments) override {
    arguments.Number("--seconds", seconds_, 1, kMostSeconds,
                     "how long to measure, roughly (default: 20)");
    DeclareThreads(arguments, threads_);
    rules_.Declare(arguments);
    rules_.only_stored_for = arguments.command();
    arguments.Flag("--json", json_, "machine-readable");
    Progress::Declare(arguments, progress_);
    arguments.Operand("PATH", path_, "a directory or a file, plain or compressed");
  }

  Status Run(Console& console) override {
    const Progress progress(console, Progress::Mode::kNever);  // takes signals
    const auto begin = std::chrono::steady_clock::now();
    const std::chrono::milliseconds length = std::chrono::seconds(seconds_);
    const BenchSample sample =
        DrawSample(Os::Real(), rules_, {path_}, progress.cancelled(), begin + length / kWalkShare);
    BenchStatus status(console, Progress::ModeOf(progress_), begin + length);
    BenchGrid grid({.os = Os::Real(),
                    .parts = sample.parts,
                    .cancelled = progress.cancelled(),
                    .end = begin + length,
                    .on_part = [&status](uint64_t bytes) { status.AddPart(bytes); }});
    const BenchResult result = grid.Run(threads_ == 0 ? UsableProcessors() : threads_);
    status.End();
    if (progress.signal() != 0) {
      console.EndBySignal(progress.signal());
    }
    Tell(console, sample, result);
    return {};
  }

 private:
  void Tell(Console& console, const BenchSample& sample, const BenchResult& result) const {
    const BenchReport report(sample, result);
    auto errors = sample.errors;
    errors.insert(errors.end(), result.errors.begin(), result.errors.end());
    for (const auto& [path, message] : errors) {
      // If it is all that was asked for, nothing is known at all.
      if (path == path_ && result.parts == 0) {
        console.FileError(path, message);
      } else {
        console.FileWarning(path, message);
      }
    }
    if (!json_) {
      console.Print(report.Text(path_));
      return;
    }
    Json document = NewDocument("bench");
    PutPath(document, path_);
    report.AddTo(document);
    PrintDocument(console, std::move(document));
  }

  unsigned seconds_ = kDefaultSeconds;
  unsigned threads_ = 0;
  bool json_ = false;
  TreeRules rules_;
  std::string progress_ = "auto";
  std::string path_;
};

}  // namespace

std::unique_ptr<Command> MakeBenchCommand() { return std::make_unique<BenchCommand>(); }

}  // namespace xzfs
