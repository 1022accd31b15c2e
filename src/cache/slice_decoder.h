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
#include "cache/damage_notes.h"
#include "cache/decode_slots.h"
#include "cache/xz_file.h"
#include "xz/block_decoder.h"
#include "xzfs/random_access_file.h"

namespace xzfs {

// The unit of the cache inside a giant Block. 1 MiB: about 10 ms of decoding, so a reader who joins
// one waits little, and eight of the kernel's requests are served by one.
inline constexpr uint64_t kSliceBytes = uint64_t{1} << 20;

// The decoders of a mount's giant Blocks. Thread-safe. The algorithm is described in the source.
class SliceDecoder {
 public:
  // All outlive the SliceDecoder. `decoder_limit` bounds the memory of one decoder, in bytes.
  SliceDecoder(BlockCache& cache, DecodeSlots& slots, DamageNotes& damage, Stats& stats,
               uint64_t decoder_limit)
      : cache_(cache),
        slots_(slots),
        damage_(damage),
        stats_(stats),
        decoder_limit_(decoder_limit) {}

  enum class Effort {
    kReader,  // whatever it takes
    kAhead,   // only if a decoder stands just before the slice; EAGAIN otherwise
  };

  struct Request {
    const XzFile& file;
    const RandomAccessFile& stored;
    const BlockInfo& block;
    uint64_t slice;   // from 0
    uint64_t reader;  // who reads: decoders are left to those who used them last; not 0
    Effort effort;
  };

  // Decodes a slice, keeping some of the slices before it in the cache if it has to pass over them.
  // Errors: EIO, noted as damage; what `stored` says. Blocks. REQUIRES: the caller holds no lock;
  // with kReader no decode slot, with kAhead one.
  Result<UnitPtr> Load(const Request& request) EXCLUDES(mutex_);

  // `reader` is gone: its decoders are anybody's.
  void Disown(uint64_t reader) EXCLUDES(mutex_);

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
    uint64_t reader;         // 0: anybody's
    uint64_t parked_at = 0;  // runs_ended_
    Cursor cursor;
  };
  using ParkedList = std::list<Parked>;

  // What a request got hold of: a decoder (none yet if it has to start from the Block's start) and
  // the run that announces it to others.
  struct Claim {
    Cursor cursor;
    RunList::iterator run;
    uint64_t bytes = 0;  // counted in running_bytes_
  };
  enum class Outcome { kClaimed, kHandedOver, kNotAhead, kTellBytes };

  static BlockKey KeyOf(const Request& request) {
    return {request.file.id(), request.block.number};
  }
  Outcome ClaimDecoder(const Request& request, uint64_t restart_bytes, Claim& claim, UnitPtr& unit)
      EXCLUDES(mutex_);
  RunList::iterator BestRun(RunList& runs, uint64_t slice) REQUIRES(mutex_);
  ParkedList::iterator BestParked(const Request& request, bool take_foreign) REQUIRES(mutex_);
  UnitPtr WaitForRun(Run& run, uint64_t slice) REQUIRES(mutex_);
  bool Affordable(uint64_t bytes) REQUIRES(mutex_);
  Result<UnitPtr> Drive(const Request& request, Claim& claim) EXCLUDES(mutex_);
  Status Restart(const Request& request, Claim& claim) EXCLUDES(mutex_);
  Result<UnitPtr> Decode(const Request& request, Claim& claim) EXCLUDES(mutex_);
  Status DecodeNext(const Request& request, Claim& claim, std::shared_ptr<Unit>& unit)
      EXCLUDES(mutex_);
  void RunOn(const Request& request, Claim& claim) EXCLUDES(mutex_);
  bool HandOver(Run& run, uint64_t slice, const UnitPtr& unit) EXCLUDES(mutex_);
  bool IsDroppable(const Parked& parked, uint64_t reader) REQUIRES(mutex_);
  bool CanPark(const Claim& claim, uint64_t reader) EXCLUDES(mutex_);
  // Ends the claim's run. Parks its decoder if `park`.
  void EndRun(const Request& request, Claim claim, bool park) EXCLUDES(mutex_);
  void Park(ParkedList& ended, ParkedList& dropped) REQUIRES(mutex_);
  void Unpark(ParkedList::iterator parked, ParkedList& to) REQUIRES(mutex_);
  uint64_t KeepSlices() const { return cache_.budget().total() / 8 / kSliceBytes; }

  BlockCache& cache_;
  DecodeSlots& slots_;
  DamageNotes& damage_;
  Stats& stats_;
  const uint64_t decoder_limit_;

  Mutex mutex_;
  CondVar changed_;                                      // a slice was handed over or a run ended
  std::map<BlockKey, RunList> runs_ GUARDED_BY(mutex_);  // no empty lists
  ParkedList parked_ GUARDED_BY(mutex_);                 // parked last first
  uint64_t parked_bytes_ GUARDED_BY(mutex_) = 0;
  uint64_t runs_ended_ GUARDED_BY(mutex_) = 0;
  uint64_t running_bytes_ GUARDED_BY(mutex_) = 0;  // of decoders at work or being set up
};

}  // namespace xzfs
