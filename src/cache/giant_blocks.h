// Giant Blocks: decoded in slices by decoders that stop, go on and go back.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/stats.h"
#include "base/turns.h"
#include "cache/damage_notes.h"
#include "cache/loaded_index.h"
#include "cache/restart_spacing.h"
#include "cache/restart_store.h"
#include "cache/seekable_decoder.h"
#include "cache/unit_cache.h"
#include "xzfs/random_access_file.h"

namespace xzfs {

// The decoders of a mount's giant Blocks. Thread-safe. The algorithm is described in the source.
class GiantBlocks {
 public:
  struct Limits {
    uint64_t decoder_bytes;  // of one decoder's memory
    unsigned decoders;       // decoders of one Block
  };

  // All outlive the GiantBlocks.
  GiantBlocks(UnitCache& cache, Turns& turns, DamageNotes& damage, RestartStore& store,
              Stats& stats, const Limits& limits)
      : cache_(cache),
        turns_(turns),
        damage_(damage),
        store_(store),
        stats_(stats),
        limits_(limits) {}

  enum class Effort {
    kReader,  // whatever it takes
    kAhead,   // only if a free decoder stands just before the slice; EAGAIN otherwise
  };

  struct Request {
    const LoadedIndex& loaded;
    const RandomAccessFile& stored;
    const BlockInfo& block;
    uint64_t slice;   // from 0
    uint64_t reader;  // names the reader, for which a place is kept; not 0
    Effort effort;
  };

  // Decodes a slice, keeping some of the slices before it in the cache if it has to pass over them.
  // Errors: EIO and EFBIG, noted; what `stored` says. Blocks. REQUIRES: the caller holds no lock;
  // with kReader no turn, with kAhead one.
  Result<UnitPtr> Load(const Request& request) EXCLUDES(mutex_);

  // Forgets the places of a reader that is gone.
  void ForgetReader(uint64_t reader) EXCLUDES(mutex_);

 private:
  struct BlockKey {
    uint64_t file_id;
    uint64_t block;  // its number
    auto operator<=>(const BlockKey&) const = default;
  };
  using DecoderList = std::list<SeekableDecoder>;

  // A giant Block that has decoders.
  struct GiantBlock {
    DecoderList decoders;
    RestartSpacing spacing;
    uint64_t waited = 0;  // for runs of others, in slices, since a decoder was last taken instead
  };

  // What a request should do: take `decoder`, wait for its run, or make a new decoder if it's null.
  struct Choice {
    SeekableDecoder* decoder = nullptr;
    bool wait = false;
  };

  // A decoder that a request made busy for its run.
  struct Run {
    SeekableDecoder* decoder = nullptr;
    SeekableDecoder::Start start;
    uint64_t slice = 0;          // to be decoded next
    bool takes_memory = false;   // the decoder isn't charged yet
    bool in_order = false;       // it goes on where its reader was
    bool lost_place = false;     // another reader's place was lost, as there was no memory
    bool good = true;            // the decoder can go on
    bool is_ours_wrong = false;  // it and its points are of no use
    // The place that is to be kept before the decoder is moved.
    struct {
      uint64_t reader = 0;  // 0: there is none
      uint64_t slice = 0;
    } left;
  };
  enum class Outcome { kStarted, kDelivered, kNotAhead, kTellBytes };

  // What is freed once the lock is released.
  struct Dropped {
    DecoderList decoders;
    std::vector<RestartPointPtr> points;
  };

  static BlockKey KeyOf(const Request& request) {
    return {request.loaded.id(), request.block.number};
  }
  Outcome StartRun(const Request& request, uint64_t new_decoder_bytes, Run& run, UnitPtr& unit)
      EXCLUDES(mutex_);
  Choice Choose(const Request& request) REQUIRES(mutex_);
  static Choice ChooseAhead(GiantBlock& block, uint64_t slice);
  UnitPtr WaitFor(SeekableDecoder& decoder, uint64_t slice) REQUIRES(mutex_);
  // Makes `decoder`, or a new one if it is null, busy with a run to the slice that was asked for.
  void TakeDecoder(const Request& request, SeekableDecoder* decoder, uint64_t bytes, Run& run)
      REQUIRES(mutex_);
  bool MakeRoom(uint64_t bytes, int& waits, Run& run) REQUIRES(mutex_);
  // Returns false if a reader lost its place.
  bool FreeMemory(const BlockKey& key, SeekableDecoder& decoder) REQUIRES(mutex_);
  void EndWork(SeekableDecoder& decoder) REQUIRES(mutex_);
  void DropDecoder(const BlockKey& key, SeekableDecoder& decoder, Dropped& dropped)
      REQUIRES(mutex_);
  template <class Predicate>
  std::pair<BlockKey, SeekableDecoder*> OldestIdle(const Predicate& may) REQUIRES(mutex_);

  Result<UnitPtr> Execute(const Request& request, Run& run) EXCLUDES(mutex_);
  // Brings the run's decoder to where the run begins.
  Status Begin(const Request& request, Run& run) EXCLUDES(mutex_);
  Status Open(const Request& request, SeekableDecoder& decoder) EXCLUDES(mutex_);
  // The point where the run should begin can't be read: chooses another start.
  void ForgetStart(const Request& request, Run& run) EXCLUDES(mutex_);
  RestartPointPtr SavePoint(SeekableDecoder& decoder, RestartStore::Place place);
  RestartPointPtr SavePlace(const BlockKey& key, SeekableDecoder& decoder) EXCLUDES(mutex_);
  // Saves the place of the reader from which this run takes the decoder.
  void KeepPlace(const Request& request, const Run& run) EXCLUDES(mutex_);
  Result<UnitPtr> Decode(const Request& request, Run& run) EXCLUDES(mutex_);
  Status DecodeNext(const Request& request, Run& run, std::shared_ptr<Unit>& unit) EXCLUDES(mutex_);
  void MaybeSavePoint(const Request& request, const Run& run) EXCLUDES(mutex_);
  void MakeRoomForPoints(const BlockKey& key) EXCLUDES(mutex_);
  void RunOn(const Request& request, Run& run) EXCLUDES(mutex_);
  bool Deliver(SeekableDecoder& decoder, uint64_t slice, const UnitPtr& unit) EXCLUDES(mutex_);
  void EndRun(const Request& request, const Run& run) EXCLUDES(mutex_);

  uint64_t KeepSlices() const { return cache_.budget().total() / 8 / kSliceBytes; }

  UnitCache& cache_;
  Turns& turns_;
  DamageNotes& damage_;
  RestartStore& store_;
  Stats& stats_;
  const Limits limits_;

  Mutex mutex_;
  CondVar changed_;  // a slice was delivered or a decoder isn't busy any more
  std::map<BlockKey, GiantBlock> blocks_ GUARDED_BY(mutex_);  // none without decoders
  uint64_t decoder_count_ GUARDED_BY(mutex_) = 0;
  uint64_t decoder_bytes_ GUARDED_BY(mutex_) = 0;  // of those with memory
  uint64_t runs_ GUARDED_BY(mutex_) = 0;           // that ended
};

}  // namespace xzfs
