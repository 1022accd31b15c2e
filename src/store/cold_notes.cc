#include "store/cold_notes.h"

#include <utility>

#include "store/records.h"

namespace xzfs {
namespace {

// What a record begins with.
constexpr char kPosition = 1;
constexpr char kUnshrinkable = 2;

}  // namespace

void ColdNotes::Parse(std::string_view bytes) {
  MutexLock lock(mutex_);
  RecordParser records(bytes);
  for (std::string body; records.Record(body) && !body.empty();) {
    RecordParser fields(std::string_view(body).substr(1));
    std::string directory;
    uint64_t inode = 0;
    uint64_t size = 0;
    uint64_t mtime = 0;
    if (body[0] == kPosition && fields.Text(directory)) {
      position_ = std::move(directory);
    } else if (body[0] == kUnshrinkable && fields.Number(inode) && fields.Number(size) &&
               fields.Number(mtime)) {
      Add(inode, {.size_bytes = size, .mtime_ns = static_cast<int64_t>(mtime)});
    }
  }
}

std::string ColdNotes::Serialize() {
  MutexLock lock(mutex_);
  changed_ = false;
  std::string bytes;
  if (!position_.empty()) {
    std::string body(1, kPosition);
    PutText(body, position_);
    PutRecord(bytes, body);
  }
  for (const auto& [inode, file] : files_) {
    std::string body(1, kUnshrinkable);
    PutNumber(body, inode);
    PutNumber(body, file.size_bytes);
    PutNumber(body, static_cast<uint64_t>(file.mtime_ns));
    PutRecord(bytes, body);
  }
  return bytes;
}

std::string ColdNotes::position() {
  MutexLock lock(mutex_);
  return position_;
}

void ColdNotes::SetPosition(const std::string& directory) {
  MutexLock lock(mutex_);
  changed_ |= position_ != directory;
  position_ = directory;
}

void ColdNotes::Add(uint64_t inode, const File& file) {
  if (files_.size() >= kMostFiles && !files_.contains(inode)) {
    files_.erase(files_.begin());
  }
  files_.insert_or_assign(inode, file);
}

void ColdNotes::AddUnshrinkable(uint64_t inode, uint64_t size_bytes, int64_t mtime_ns) {
  MutexLock lock(mutex_);
  Add(inode, {.size_bytes = size_bytes, .mtime_ns = mtime_ns});
  changed_ = true;
}

bool ColdNotes::IsUnshrinkable(uint64_t inode, uint64_t size_bytes, int64_t mtime_ns) {
  MutexLock lock(mutex_);
  const auto it = files_.find(inode);
  if (it == files_.end() || it->second.size_bytes != size_bytes ||
      it->second.mtime_ns != mtime_ns) {
    return false;
  }
  it->second.seen = true;
  return true;
}

void ColdNotes::BeginSearch() {
  MutexLock lock(mutex_);
  for (auto& [inode, file] : files_) {
    file.seen = false;
  }
}

void ColdNotes::EndSearch() {
  MutexLock lock(mutex_);
  changed_ |= std::erase_if(files_, [](const auto& entry) { return !entry.second.seen; }) != 0;
}

size_t ColdNotes::size() {
  MutexLock lock(mutex_);
  return files_.size();
}

bool ColdNotes::changed() {
  MutexLock lock(mutex_);
  return changed_;
}

}  // namespace xzfs
