#include "store/unshrinkable_files.h"

#include <algorithm>

namespace xzfs {
namespace {

// A file is tried again when one part in so many has changed.
constexpr uint64_t kParts = 10;

}  // namespace

void UnshrinkableFiles::Erase(Files::iterator file) {
  bytes_ -= file->second.size_bytes;
  files_.erase(file);
  ++version_;
}

void UnshrinkableFiles::Add(const Identity& file) {
  MutexLock lock(mutex_);
  const auto it = files_.find(FileId::Of(file));
  if (it != files_.end()) {
    Erase(it);
  } else if (files_.size() >= kMostFiles) {
    Erase(files_.begin());
  }
  files_.emplace(FileId::Of(file), File{.tried_bytes = file.size_bytes,
                                        .size_bytes = file.size_bytes,
                                        .mtime_ns = file.mtime_ns});
  bytes_ += file.size_bytes;
  ++version_;
}

bool UnshrinkableFiles::Has(const Identity& file) {
  MutexLock lock(mutex_);
  const auto it = files_.find(FileId::Of(file));
  if (it == files_.end() || it->second.size_bytes != file.size_bytes ||
      it->second.mtime_ns != file.mtime_ns) {
    return false;
  }
  it->second.seen = true;
  return true;
}

bool UnshrinkableFiles::Knows(const FileId& file) {
  MutexLock lock(mutex_);
  return files_.contains(file);
}

void UnshrinkableFiles::NoteWritten(const Identity& file, uint64_t bytes) {
  MutexLock lock(mutex_);
  const auto it = files_.find(FileId::Of(file));
  if (it == files_.end()) {
    return;
  }
  File& noted = it->second;
  noted.written_bytes += bytes;
  const uint64_t resized =
      std::max(noted.tried_bytes, file.size_bytes) - std::min(noted.tried_bytes, file.size_bytes);
  if (std::max(noted.written_bytes, resized) >= noted.tried_bytes / kParts) {
    Erase(it);
    return;
  }
  bytes_ += file.size_bytes - noted.size_bytes;
  noted.size_bytes = file.size_bytes;
  noted.mtime_ns = file.mtime_ns;
  ++version_;
}

void UnshrinkableFiles::Forget(const FileId& file) {
  MutexLock lock(mutex_);
  if (const auto it = files_.find(file); it != files_.end()) {
    Erase(it);
  }
}

void UnshrinkableFiles::Clear() {
  MutexLock lock(mutex_);
  files_.clear();
  bytes_ = 0;
  ++version_;
}

void UnshrinkableFiles::BeginSearch() {
  MutexLock lock(mutex_);
  for (auto& [id, file] : files_) {
    file.seen = false;
  }
}

void UnshrinkableFiles::EndSearch() {
  MutexLock lock(mutex_);
  for (auto it = files_.begin(); it != files_.end();) {
    const auto file = it++;
    if (!file->second.seen) {
      Erase(file);
    }
  }
}

UnshrinkableFiles::Share UnshrinkableFiles::share() {
  MutexLock lock(mutex_);
  return {.files = files_.size(), .bytes = bytes_};
}

std::vector<Identity> UnshrinkableFiles::All() {
  MutexLock lock(mutex_);
  std::vector<Identity> all;
  for (const auto& [id, file] : files_) {
    all.push_back({.device = id.device,
                   .inode = id.inode,
                   .size_bytes = file.size_bytes,
                   .mtime_ns = file.mtime_ns});
  }
  return all;
}

uint64_t UnshrinkableFiles::version() {
  MutexLock lock(mutex_);
  return version_;
}

}  // namespace xzfs
