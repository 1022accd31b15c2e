#include "store/cold_notes.h"

#include <cmath>
#include <utility>

#include "store/records.h"

namespace xzfs {
namespace {

// What a record begins with.
constexpr char kPosition = 1;
constexpr char kUnshrinkable = 2;
constexpr char kLeastSaving = 3;

uint64_t Millionths(double share) { return static_cast<uint64_t>(std::llround(share * 1e6)); }

}  // namespace

void ColdNotes::Parse(std::string_view bytes, const Scope& scope) {
  MutexLock lock(mutex_);
  RecordParser records(bytes);
  bool is_wanted = false;
  for (std::string body; records.Record(body) && !body.empty();) {
    RecordParser fields(std::string_view(body).substr(1));
    std::string directory;
    uint64_t least = 0;
    Identity file = {.device = scope.device};
    uint64_t mtime = 0;
    if (body[0] == kPosition && fields.Text(directory)) {
      position_ = std::move(directory);
    } else if (body[0] == kLeastSaving && fields.Number(least)) {
      is_wanted = least <= Millionths(scope.least_saving);
    } else if (body[0] == kUnshrinkable && is_wanted && fields.Number(file.inode) &&
               fields.Number(file.size_bytes) && fields.Number(mtime)) {
      file.mtime_ns = static_cast<int64_t>(mtime);
      files_.Add(file);
    }
  }
  files_version_ = files_.version();
}

std::string ColdNotes::Serialize(const Scope& scope) {
  MutexLock lock(mutex_);
  changed_ = false;
  files_version_ = files_.version();
  std::string bytes;
  if (!position_.empty()) {
    std::string body(1, kPosition);
    PutText(body, position_);
    PutRecord(bytes, body);
  }
  std::string files;
  for (const Identity& file : files_.All()) {
    if (file.device == scope.device) {
      std::string body(1, kUnshrinkable);
      PutNumber(body, file.inode);
      PutNumber(body, file.size_bytes);
      PutNumber(body, static_cast<uint64_t>(file.mtime_ns));
      PutRecord(files, body);
    }
  }
  if (!files.empty()) {
    std::string body(1, kLeastSaving);
    PutNumber(body, Millionths(scope.least_saving));
    PutRecord(bytes, body);
  }
  return bytes + files;
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

bool ColdNotes::changed() {
  MutexLock lock(mutex_);
  return changed_ || files_version_ != files_.version();
}

}  // namespace xzfs
