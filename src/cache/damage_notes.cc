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

void DamageNotes::AddVerdict(uint64_t file_id, const std::string& name, const BlockInfo& block,
                             DecoderVerdict verdict) {
  if (verdict == DecoderVerdict::kNotAsked) {
    return;
  }
  stats_.decoder_fallbacks.Add();
  if (verdict == DecoderVerdict::kConfirmed) {
    return;
  }
  stats_.decoder_wrong.Add();
  bool is_new = false;
  {
    MutexLock lock(mutex_);
    is_new =
        for_liblzma_.size() < kMostNotes && for_liblzma_.insert({file_id, block.number}).second;
  }
  const bool was_read = verdict == DecoderVerdict::kWrong;
  if (is_new) {
    Log(LogLevel::kError,
        "decoder: " + name + ", " + NameOf(block) +
            (was_read ? ": programs may have read wrong bytes of this Block; all cached bytes are "
                        "dropped now. "
                      : ": nobody got wrong bytes. ") +
            "liblzma decodes it, our decoder did not. Either the disk or memory gave other bytes "
            "at "
            "first, or our decoder has a bug: please report it. XZFS_DECODER=liblzma in the "
            "environment of the mount makes liblzma decode everything");
  }
  if (was_read && drop_) {
    drop_();
  }
}

DecoderChoice DamageNotes::ChoiceFor(uint64_t file_id, const BlockInfo& block) const {
  MutexLock lock(mutex_);
  return for_liblzma_.contains({file_id, block.number}) ? DecoderChoice::kLiblzma
                                                        : DecoderChoice::kAny;
}

}  // namespace xzfs
