// Measures on the user's own files what compressing them would save and cost.
#include <fmt/core.h>

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
#include "ctl/shell/text_width.h"

namespace xzfs {
namespace {

constexpr unsigned kDefaultSeconds = 20;
constexpr unsigned kMostSeconds = 86400;
// The share of the time for the search.
constexpr int kWalkShare = 4;

// How much was measured, and how long it goes on. Thread-safe.
class BenchStatus {
 public:
  using Clock = std::chrono::steady_clock;

  explicit BenchStatus(Clock::time_point end) : end_(end) {}

  void AddPart(uint64_t bytes) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    bytes_ += bytes;
    ++parts_;
  }

  std::string Line(size_t columns) const EXCLUDES(mutex_) {
    const std::chrono::duration<double> left =
        std::max(end_ - Clock::now(), Clock::duration::zero());
    MutexLock lock(mutex_);
    const std::string done = parts_ == 0 ? "nothing is measured yet"
                                         : fmt::format("measured {} in {} {}", FormatSize(bytes_),
                                                       parts_, parts_ == 1 ? "part" : "parts");
    return CutAtEnd(done + ", " + FormatDuration(left.count()) + " left", columns);
  }

 private:
  const Clock::time_point end_;
  mutable Mutex mutex_;
  uint64_t bytes_ GUARDED_BY(mutex_) = 0;
  uint64_t parts_ GUARDED_BY(mutex_) = 0;
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
    BenchSample sample;
    const BenchResult result = Measure(console, sample);
    Tell(console, sample, result);
    return {};
  }

 private:
  // Draws the sample, too.
  BenchResult Measure(Console& console, BenchSample& sample) const {
    const auto begin = std::chrono::steady_clock::now();
    const std::chrono::milliseconds length = std::chrono::seconds(seconds_);
    BenchStatus status(begin + length);
    const Progress progress(console, Progress::ModeOf(progress_),
                            [&status](size_t columns) { return status.Line(columns); });
    sample =
        DrawSample(Os::Real(), rules_, {path_}, progress.cancelled(), begin + length / kWalkShare);
    BenchGrid grid({.os = Os::Real(),
                    .parts = sample.parts,
                    .cancelled = progress.cancelled(),
                    .end = begin + length,
                    .on_part = [&status](uint64_t bytes) { status.AddPart(bytes); }});
    BenchResult result = grid.Run(threads_ == 0 ? UsableProcessors() : threads_);
    console.EndBySignal(progress.signal());
    return result;
  }

  void Tell(Console& console, const BenchSample& sample, const BenchResult& result) const {
    const BenchReport report(sample, result);
    auto errors = sample.errors;
    errors.insert(errors.end(), result.errors.begin(), result.errors.end());
    bool has_failed = false;
    for (const auto& [path, message] : errors) {
      // If it is all that was asked for, nothing is known at all.
      if (path == path_ && result.parts == 0) {
        console.FileError(path, message);
        has_failed = true;
      } else {
        console.FileWarning(path, message);
      }
    }
    if (!json_) {
      console.Print(has_failed ? "" : report.Text(path_));
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
