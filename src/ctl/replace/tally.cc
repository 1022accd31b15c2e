#include "ctl/replace/tally.h"

#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "base/units.h"

namespace xzfs {

namespace {

std::string Change(const Replaced& file) {
  std::string text = FormatSize(file.old_bytes) + " -> " + FormatSize(file.new_bytes);
  if (file.plain_bytes != 0) {
    text += fmt::format(" ({:.3f})", static_cast<double>(file.compressed_bytes) /
                                         static_cast<double>(file.plain_bytes));
  }
  return text;
}

void PutSizes(Json& json, const Replaced& file) {
  json["old_bytes"] = file.old_bytes;
  json["new_bytes"] = file.new_bytes;
  json["plain_bytes"] = file.plain_bytes;
  json["compressed_bytes"] = file.compressed_bytes;
  json["ratio"] = RatioJson(file.compressed_bytes, file.plain_bytes);
}

}  // namespace

void Replaced::Add(const Replaced& other) {
  old_bytes += other.old_bytes;
  new_bytes += other.new_bytes;
  plain_bytes += other.plain_bytes;
  compressed_bytes += other.compressed_bytes;
}

void Tally::AddDone(const std::string& path, const Replaced& file) {
  if (each_ == EachFile::kNoted) {
    console_.Note(path + ": " + Change(file));
  }
  MutexLock lock(mutex_);
  ++files_;
  sum_.Add(file);
  if (each_ == EachFile::kInDocument) {
    done_.emplace_back(path, file);
  }
}

void Tally::AddSkipped(const std::string& path, bool is_named, const std::string& reason,
                       const std::string& detail) {
  const std::string line = "skipped " + path + ": " + (detail.empty() ? reason : detail);
  if (is_named) {
    console_.Warn(line);
  } else if (each_ == EachFile::kNoted) {
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
  console_.FileError(file.path(), (says_which ? "" : file.path() + ": ") + error.message);
  MutexLock lock(mutex_);
  ++failed_;
}

std::string Tally::Summary(const std::string& verb) {
  MutexLock lock(mutex_);
  std::string text = verb + " " + Counted(files_, "file") + ", " + Change(sum_);
  uint64_t skipped = 0;
  std::string reasons;
  for (const auto& [reason, count] : skipped_) {
    skipped += count;
    reasons += (reasons.empty() ? ": " : ", ") + reason + " (" + std::to_string(count) + ")";
  }
  return text + (skipped == 0 ? "" : "; skipped " + std::to_string(skipped) + reasons) +
         (failed_ == 0 ? "" : "; " + std::to_string(failed_) + " failed");
}

void Tally::AddTo(Json& json) const {
  MutexLock lock(mutex_);
  json["files"] = files_;
  PutSizes(json, sum_);
  json["skipped"] = Json::array();
  for (const auto& [reason, count] : skipped_) {
    json["skipped"].push_back({{"reason", reason}, {"files", count}});
  }
  if (each_ != EachFile::kInDocument) {
    return;
  }
  json["file_list"] = Json::array();
  std::vector<std::pair<std::string, Replaced>> sorted = done_;
  std::sort(sorted.begin(), sorted.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [path, file] : sorted) {
    Json entry;
    PutPath(entry, path);
    PutSizes(entry, file);
    json["file_list"].push_back(std::move(entry));
  }
}

}  // namespace xzfs
