#include "ctl/report/scan_progress.h"

#include "base/units.h"
#include "ctl/report/html.h"

namespace xzfs {
namespace {

constexpr std::chrono::seconds kPeriod{1};

}  // namespace

ScanProgress::ScanProgress(Console& console, Progress::Mode mode)
    : console_(console),
      shows_(mode == Progress::Mode::kAlways ||
             (mode == Progress::Mode::kAuto && console.stderr_is_terminal())),
      due_(Clock::now() + kPeriod) {}

ScanProgress::~ScanProgress() {
  if (shows_) {
    console_.ShowStatus("");
  }
}

bool ScanProgress::IsDue() {
  if (!shows_ || Clock::now() < due_) {
    return false;
  }
  due_ = Clock::now() + kPeriod;
  return true;
}

void ScanProgress::AddFile(uint64_t disk_bytes) {
  ++files_;
  disk_bytes_ += disk_bytes;
  if (IsDue()) {
    console_.ShowStatus(Counted(files_, "file", "files") + " looked at, " +
                        FormatSize(disk_bytes_) + " on disk");
  }
}

void ScanProgress::ShowEstimates(uint64_t done, uint64_t count) {
  if (IsDue()) {
    console_.ShowStatus("packing samples: " + std::to_string(done) + " of " +
                        Counted(count, "kind", "kinds") + " of files");
  }
}

}  // namespace xzfs
