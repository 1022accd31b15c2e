#include "cache/xz_file.h"

#include <algorithm>
#include <cerrno>

#include "base/log.h"

namespace xzfs {
namespace {

// In a file with more damaged Blocks than this the others cost a decode attempt a read, and no line
// in the log: memory and the log stay bounded.
constexpr size_t kMostDamageNotes = 4096;

}  // namespace

std::optional<Error> XzFile::DamageAt(const BlockInfo& block, uint64_t end) const {
  MutexLock lock(mutex_);
  const auto it = damage_.find(block.number);
  if (it == damage_.end() || end <= it->second.from) {
    return std::nullopt;
  }
  return it->second.error;
}

Error XzFile::NoteDamage(const BlockInfo& block, uint64_t from, Error error) const {
  if (error.code != EIO && error.code != EFBIG) {
    return error;
  }
  {
    MutexLock lock(mutex_);
    if (const auto it = damage_.find(block.number); it != damage_.end()) {
      it->second.from = std::min(it->second.from, from);
      return error;
    }
    if (damage_.size() == kMostDamageNotes) {
      return error;
    }
    damage_.emplace(block.number, Damage{from, error});
  }
  stats_.damaged_blocks.Add();
  Log(LogLevel::kError, "damaged: " + name_ + ", Block " + std::to_string(block.number) +
                            ", bytes " + std::to_string(block.plain_offset) + "-" +
                            std::to_string(block.plain_offset + block.plain_size) + ": " +
                            error.message +
                            "; reads there fail with EIO, the rest of the file is readable");
  return error;
}

}  // namespace xzfs
