// Giant Blocks: decoded in slices by decoders that stop and go on.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>

#include "base/mutex.h"
#include "base/stats.h"
#include "cache/block_cache.h"
#include "cache/decode_slots.h"
#include "cache/xz_file.h"
#include "xz/block_decoder.h"
#include "xzfs/random_access_file.h"

namespace xzfs {

// The unit of the cache inside a giant Block. 1 MiB: about 10 ms of decoding, so a reader who joins
// one waits little, and eight of the kernel's requests are served by one.
inline constexpr uint64_t kSliceBytes = uint64_t{1} << 20;

// The decoders of a mount's giant Blocks. Thread-safe. Outlived by the cache, slots and stats that
// it is given. The algorithm is described in the source.
class SliceDecoder {
 public:
  // `decoder_limit` bounds the memory of one decoder, in bytes.
  SliceDecoder(BlockCache& cache, DecodeSlots& slots, Stats& stats, uint64_t decoder_limit)
      : cache_(cache), slots_(slots), stats_(stats), decoder_limit_(decoder_limit) {}

  enum class Effort {
    kReader,  // whatever it takes
    kAhead,   // only if a decoder stands just before the slice; EAGAIN otherwise
  };

  // Decodes slice number `slice` (from 0) of `block`, keeping some of the slices before it in the
  // cache if it has to pass over them. Errors: EIO and EFBIG as BlockDecoder, noted in `file`;
  // what `stored` says. Blocks. REQUIRES: the caller holds no lock and no decode slot.
  Result<UnitPtr> Load(const XzFile& file, const RandomAccessFile& stored, const BlockInfo& block,
                       uint64_t slice, Effort effort) EXCLUDES(mutex_);

  // Drops the parked decoders of a file that is no longer known.
  void Forget(uint64_t file_id) EXCLUDES(mutex_);

 private:
  struct BlockKey {
    uint64_t file_id;
    uint64_t block;  // its number
    auto operator<=>(const BlockKey&) const = default;
  };

  // A decoder and where it stands.
  struct Cursor {
    std::unique_ptr<BlockDecoder> decoder;
    MemoryCharge charge;
    uint64_t bytes = 0;  // what the decoder may hold
    uint64_t slice = 0;  // the next one it will give
  };

  // A reader who waits for a slice that another reader's decoder is going to pass.
  struct Want {
    UnitPtr unit;
    bool over = false;  // handed over, or the run ended without it
  };

  // A decoder at work.
  struct Run {
    uint64_t slice = 0;  // being decoded
    std::multimap<uint64_t, Want*> wants;
  };
  using RunList = std::list<Run>;

  struct Parked {
    BlockKey key;
    Cursor cursor;
  };
  using ParkedList = std::list<Parked>;

  // What a reader got hold of: a decoder (none yet if it has to start from the Block's start) and
  // the run that announces it to others.
  struct Claim {
    Cursor cursor;
    RunList::iterator run;
    uint64_t bytes = 0;  // counted in running_bytes_
  };

  struct Request {
    const XzFile& file;
    const RandomAccessFile& stored;
    const BlockInfo& block;
    uint64_t slice;
    Effort effort;
    BlockKey key() const { return {file.id(), block.number}; }
  };

  // Either fills `claim`, or returns the unit that another run handed over, or an error.
  std::optional<Result<UnitPtr>> ClaimDecoder(const Request& request, uint64_t restart_bytes,
                                              Claim& claim) EXCLUDES(mutex_);
  RunList::iterator BestRun(RunList& runs, uint64_t slice) REQUIRES(mutex_);
  ParkedList::iterator BestParked(const BlockKey& key, uint64_t slice) REQUIRES(mutex_);
  Result<UnitPtr> Drive(const Request& request, Claim& claim) EXCLUDES(mutex_);
  Status Restart(const Request& request, Claim& claim) EXCLUDES(mutex_);
  Result<UnitPtr> Decode(const Request& request, Claim& claim) EXCLUDES(mutex_);
  bool HandOver(Run& run, uint64_t slice, const UnitPtr& unit) EXCLUDES(mutex_);
  // Ends the claim's run. Parks its decoder if `park`.
  void EndRun(const Request& request, Claim claim, bool park) EXCLUDES(mutex_);
  void TrimParked(const BlockKey& key, ParkedList& dropped) REQUIRES(mutex_);

  BlockCache& cache_;
  DecodeSlots& slots_;
  Stats& stats_;
  const uint64_t decoder_limit_;

  Mutex mutex_;
  CondVar changed_;                                      // a run decoded a slice or ended
  std::map<BlockKey, RunList> runs_ GUARDED_BY(mutex_);  // no empty lists
  ParkedList parked_ GUARDED_BY(mutex_);                 // most recently used first
  size_t parked_bytes_ GUARDED_BY(mutex_) = 0;
  size_t running_bytes_ GUARDED_BY(mutex_) = 0;  // of decoders at work or being set up
};

}  // namespace xzfs
