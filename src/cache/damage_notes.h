// What is known to be damaged, or too large to be decoded, in the files of a mount.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "base/mutex.h"
#include "base/stats.h"
#include "xz/block_decoder.h"
#include "xzfs/block_index.h"

namespace xzfs {

// A damaged Block is decoded, logged and counted once, however many readers come across it. So is a
// Block that needs more memory than a decoder may have, except that it isn't counted as damaged.
// Thread-safe. Bounded: beyond a few thousand damaged Blocks, each read of a further one decodes it
// again, and nothing is logged.
class DamageNotes {
 public:
  explicit DamageNotes(Stats& stats) : stats_(stats) {}

  // What drops all decoded bytes, wherever they are cached. REQUIRES: called before any Block is
  // decoded.
  void OnWrongBytes(std::function<void()> drop) { drop_ = std::move(drop); }

  // If decoding `block` failed here before: the error for a read of its bytes up to `end` (within
  // the Block).
  std::optional<Error> Find(uint64_t file_id, const BlockInfo& block, uint64_t end) const
      EXCLUDES(mutex_);

  // Notes that `block` can't be decoded from `from` (within the Block) on. Returns the error for
  // the reader. Errors of the source and of the moment (no memory) pass through and are not
  // remembered. `name` is that of the stored file.
  Error Add(uint64_t file_id, const std::string& name, const BlockInfo& block, uint64_t from,
            Error error) EXCLUDES(mutex_);

  // Counts that liblzma was asked about `block`. If it decodes the Block, that is logged once, and
  // from then on liblzma decodes it. If ours gave wrong bytes, they are dropped wherever they are
  // cached.
  void AddVerdict(uint64_t file_id, const std::string& name, const BlockInfo& block,
                  DecoderVerdict verdict) EXCLUDES(mutex_);
  // Who is to decode `block`.
  DecoderChoice ChoiceFor(uint64_t file_id, const BlockInfo& block) const EXCLUDES(mutex_);

 private:
  struct Key {
    uint64_t file_id;
    uint64_t block;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    size_t operator()(const Key& key) const {
      return static_cast<size_t>((key.file_id * 0x9E3779B97F4A7C15U) ^ key.block);
    }
  };
  struct Damage {
    uint64_t from;
    Error error;
  };

  Stats& stats_;
  std::function<void()> drop_;
  mutable Mutex mutex_;
  std::unordered_map<Key, Damage, KeyHash> notes_ GUARDED_BY(mutex_);
  std::unordered_set<Key, KeyHash> for_liblzma_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
