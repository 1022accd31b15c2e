#include "ctl/replace/tally.h"

#include <fmt/core.h>

#include <cerrno>

#include "base/units.h"

namespace xzfs {

std::string Tally::Change(uint64_t old_bytes, uint64_t new_bytes) const {
  std::string text = FormatSize(old_bytes) + " -> " + FormatSize(new_bytes);
  const uint64_t part = ratio_ == Ratio::kNewToOld ? new_bytes : old_bytes;
  const uint64_t whole = ratio_ == Ratio::kNewToOld ? old_bytes : new_bytes;
  if (whole != 0) {
    text += fmt::format(" ({:.3f})", static_cast<double>(part) / static_cast<double>(whole));
  }
  return text;
}

void Tally::AddDone(const std::string& path, uint64_t old_bytes, uint64_t new_bytes) {
  if (verbose_) {
    console_.Note(path + ": " + Change(old_bytes, new_bytes));
  }
  MutexLock lock(mutex_);
  ++files_;
  old_bytes_ += old_bytes;
  new_bytes_ += new_bytes;
}

void Tally::AddSkipped(const std::string& path, bool is_named, const std::string& reason,
                       const std::string& detail) {
  const std::string line = "skipped " + path + ": " + (detail.empty() ? reason : detail);
  if (is_named) {
    console_.Warn(line);
  } else if (verbose_) {
    console_.Note(line);
  }
  MutexLock lock(mutex_);
  ++skipped_[reason];
}

void Tally::AddFailed(const FoundFile& file, const Error& error) {
  if (error.code == ECANCELED) {
    return;
  }
  const bool says_which = error.message.find(file.path()) != std::string::npos;
  console_.Error((says_which ? "" : file.path() + ": ") + error.message);
  MutexLock lock(mutex_);
  ++failed_;
}

std::string Tally::Summary(const std::string& verb) {
  MutexLock lock(mutex_);
  std::string text = verb + " " + Counted(files_, "file") + ", " + Change(old_bytes_, new_bytes_);
  uint64_t skipped = 0;
  std::string reasons;
  for (const auto& [reason, count] : skipped_) {
    skipped += count;
    reasons += (reasons.empty() ? ": " : ", ") + reason + " (" + std::to_string(count) + ")";
  }
  return text + (skipped == 0 ? "" : "; skipped " + std::to_string(skipped) + reasons) +
         (failed_ == 0 ? "" : "; " + std::to_string(failed_) + " failed");
}

}  // namespace xzfs
