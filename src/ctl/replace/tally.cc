#include "ctl/replace/tally.h"

#include <fmt/core.h>

#include <cerrno>

#include "base/units.h"

namespace xzfs {
namespace {

std::string Change(uint64_t old_bytes, uint64_t new_bytes) {
  std::string text = FormatSize(old_bytes) + " -> " + FormatSize(new_bytes);
  if (old_bytes != 0) {
    text +=
        fmt::format(" ({:.3f})", static_cast<double>(new_bytes) / static_cast<double>(old_bytes));
  }
  return text;
}

}  // namespace

void Tally::AddDone(const std::string& path, uint64_t old_bytes, uint64_t new_bytes) {
  if (verbose_) {
    console_.Note(path + ": " + Change(old_bytes, new_bytes));
  }
  MutexLock lock(mutex_);
  ++files_;
  old_bytes_ += old_bytes;
  new_bytes_ += new_bytes;
}

void Tally::AddSkipped(const std::string& path, bool is_named, const std::string& reason) {
  if (is_named) {
    console_.Warn(path + " is left as it is: " + reason);
  } else if (verbose_) {
    console_.Note(path + " is left as it is: " + reason);
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
  std::string text = verb + " " + std::to_string(files_) + (files_ == 1 ? " file, " : " files, ") +
                     Change(old_bytes_, new_bytes_);
  std::string left;
  for (const auto& [reason, count] : skipped_) {
    left += (left.empty() ? "; left: " : ", ") + std::to_string(count) + " " + reason;
  }
  return text + left + (failed_ == 0 ? "" : "; " + std::to_string(failed_) + " failed");
}

}  // namespace xzfs
