#include "cache/damage_notes.h"

#include <algorithm>
#include <cerrno>

#include "base/fail.h"
#include "base/log.h"
#include "xz/block_name.h"

namespace xzfs {
namespace {

constexpr size_t kMostNotes = 4096;

}  // namespace

std::optional<Error> DamageNotes::Find(uint64_t file_id, const BlockInfo& block,
                                       uint64_t end) const {
  MutexLock lock(mutex_);
  const auto it = notes_.find({file_id, block.number});
  if (it == notes_.end() || end <= it->second.from) {
    return std::nullopt;
  }
  return it->second.error;
}

Error DamageNotes::Add(uint64_t file_id, const std::string& name, const BlockInfo& block,
                       uint64_t from, Error error) {
  if (!IsOfContent(error)) {
    return error;
  }
  bool last = false;
  {
    MutexLock lock(mutex_);
    if (const auto it = notes_.find({file_id, block.number}); it != notes_.end()) {
      it->second.from = std::min(it->second.from, from);
      return error;
    }
    if (notes_.size() == kMostNotes) {
      return error;
    }
    notes_.emplace(Key{file_id, block.number}, Damage{from, error});
    last = notes_.size() == kMostNotes;
  }
  const std::string place = name + ", " + NameOf(block) + ": " + error.message;
  if (error.kind == ErrorKind::kOverLimit) {
    Log(LogLevel::kError, "refused: " + place +
                              "; reads there fail with EFBIG, the rest of the file is readable; "
                              "the limit grows with cache_size");
  } else if (error.kind == ErrorKind::kUnsupported) {
    Log(LogLevel::kError,
        "unsupported: " + place + "; reads there fail with EIO, the rest of the file is readable");
  } else {
    stats_.damaged_blocks.Add();
    Log(LogLevel::kError,
        "damaged: " + place + "; reads there fail with EIO, the rest of the file is readable");
  }
  if (last) {
    Log(LogLevel::kError, std::to_string(kMostNotes) +
                              " Blocks that can't be read were logged: no more of them are logged "
                              "until the next mount");
  }
  return error;
}

void DamageNotes::AddVerdict(const std::string& name, const BlockInfo& block,
                             DecoderVerdict verdict, uint64_t served_bytes) {
  if (verdict == DecoderVerdict::kNotAsked) {
    return;
  }
  stats_.decoder_fallbacks.Add();
  if (verdict == DecoderVerdict::kConfirmed) {
    return;
  }
  stats_.decoder_wrong.Add();
  const std::string place = name + ", " + NameOf(block);
  if (served_bytes == 0) {
    Log(LogLevel::kWarning,
        "decoder: " + place +
            ": our decoder failed where liblzma did not; nobody got wrong bytes. Either the disk "
            "or "
            "memory gave other bytes at first, or the decoder has a bug: please report it");
    return;
  }
  Log(LogLevel::kError,
      "decoder: " + place +
          ": our decoder failed where liblzma did not, and programs may have read up to " +
          std::to_string(served_bytes) +
          " wrong bytes of this Block before. Cached bytes are dropped now. Either the disk or "
          "memory gave other bytes at first, or the decoder has a bug: please report it, and mount "
          "with XZFS_DECODER=liblzma in the environment");
  if (drop_) {
    drop_();
  }
}

}  // namespace xzfs
