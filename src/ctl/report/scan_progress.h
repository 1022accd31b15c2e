// The line that shows how far the report is.
#pragma once

#include <chrono>
#include <cstdint>

#include "ctl/shell/console.h"
#include "ctl/shell/progress.h"

namespace xzfs {

// Shows at most one line a second on stderr, and removes it at its end. With kAuto it does so only
// on a terminal. A signal ends the command as usual: until the page is whole it changes nothing.
// Not thread-safe.
class ScanProgress {
 public:
  ScanProgress(Console& console, Progress::Mode mode);
  ~ScanProgress();
  ScanProgress(const ScanProgress&) = delete;
  ScanProgress& operator=(const ScanProgress&) = delete;

  // One more file was looked at, which takes this much on the disk.
  void AddFile(uint64_t disk_bytes);
  // Packing was estimated for `done` of `count` kinds.
  void ShowEstimates(uint64_t done, uint64_t count);

 private:
  using Clock = std::chrono::steady_clock;

  // Whether a line is due, now.
  bool IsDue();

  Console& console_;
  const bool shows_;
  Clock::time_point due_;
  uint64_t files_ = 0;
  uint64_t disk_bytes_ = 0;
};

}  // namespace xzfs
