// The progress of a long command, and the signals that it gets.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "base/unique_fd.h"
#include "ctl/shell/arguments.h"
#include "ctl/shell/console.h"

namespace xzfs {

// What a command makes of the bytes that it reads. Ratios are always compressed / plain, as xz's.
enum class Makes { kCompressed, kPlain, kSame };

// How much there is to do, and how much of it is done. Thread-safe.
class WorkFigures {
 public:
  explicit WorkFigures(Makes makes) : makes_(makes), began_(std::chrono::steady_clock::now()) {}

  void Begin(const std::string& path) EXCLUDES(mutex_);
  void AddTotal(uint64_t files, uint64_t bytes);
  void TotalIsComplete() { complete_ = true; }
  void AddDone(uint64_t files, uint64_t in_bytes, uint64_t out_bytes);

  // One line of at most so many columns. What matters least is left out first, and the name of the
  // file is cut.
  std::string Line(size_t columns) const EXCLUDES(mutex_);

 private:
  struct Part;
  std::vector<Part> Parts() const;

  const Makes makes_;
  const std::chrono::steady_clock::time_point began_;
  // They guard nothing.
  std::atomic<uint64_t> total_files_{0};
  std::atomic<uint64_t> total_bytes_{0};
  std::atomic<uint64_t> files_{0};
  std::atomic<uint64_t> in_bytes_{0};
  std::atomic<uint64_t> out_bytes_{0};
  std::atomic<bool> complete_{false};
  mutable Mutex mutex_;
  std::string file_ GUARDED_BY(mutex_);  // the one that was begun last
};

// While it exists, a line on stderr shows each second what was done. It is made of what Begin and
// the Add functions got, or it is the command's own. With kAuto it does so only on
// a terminal, where the line fits the width and follows it. SIGUSR1 prints such a line in any case.
// SIGINT, SIGTERM and SIGHUP ask the command to end early in good order; a second one ends the
// process at once, as kill -9 would.
//
// Construct it before any other thread: from then on these signals are blocked, in all threads.
// Thread-safe.
class Progress {
 public:
  enum class Mode { kAuto, kAlways, kNever };

  // Makes a line of at most so many columns. The thread of the Progress calls it.
  using Line = std::function<std::string(size_t columns)>;

  Progress(Console& console, Mode mode, Makes makes = Makes::kPlain);
  Progress(Console& console, Mode mode, Line line);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Declares --progress, which sets `value`. ModeOf says what a value means.
  static void Declare(Arguments& arguments, std::string& value);
  static Mode ModeOf(const std::string& value);

  // The line names this file from now on.
  void Begin(const std::string& path) { figures_.Begin(path); }
  // Adds to what there is to do.
  void AddTotal(uint64_t files, uint64_t bytes) { figures_.AddTotal(files, bytes); }
  // The total is known: from now on the line shows a share and the time that is left.
  void TotalIsComplete() { figures_.TotalIsComplete(); }
  // Adds to what is done: files, bytes read, and bytes that were made of them.
  void AddDone(uint64_t files, uint64_t in_bytes, uint64_t out_bytes) {
    figures_.AddDone(files, in_bytes, out_bytes);
  }

  // A signal sets it, and the code that does the work looks at it.
  const std::atomic<bool>& cancelled() const { return cancelled_; }
  // The signal, or 0.
  int signal() const { return signal_; }

 private:
  void Watch(bool shows);
  // Returns whether the terminal has another width now.
  bool TakeSignals();

  void Start(Mode mode);

  Console& console_;
  WorkFigures figures_;
  const Line line_;
  std::atomic<bool> cancelled_{false};
  std::atomic<int> signal_{0};
  UniqueFd signals_;  // a signalfd
  UniqueFd end_;      // an eventfd, written by the destructor
  std::thread thread_;
};

}  // namespace xzfs
