// One decoder of a giant Block that can go back: to the restart points that only it can use.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "base/memory_budget.h"
#include "cache/restart_store.h"
#include "cache/unit_cache.h"
#include "xz/block_decoder.h"

namespace xzfs {

// Slices are numbers within the Block. Guarded by the lock of GiantBlocks, except where a comment
// says otherwise.
struct SeekableDecoder {
  static constexpr uint64_t kNowhere = UINT64_MAX;

  // A reader that waits for a slice that the run may pass.
  struct Waiter {
    UnitPtr unit;
    bool over = false;  // delivered, or the run ended without it
  };

  // Where a reader that lost the decoder to another one reads on in order.
  struct Place {
    uint64_t slice;
    RestartPointPtr point;
  };

  // Where a run can begin.
  struct Start {
    enum class Kind { kHere, kPoint, kPlace, kBeginning };
    Kind kind = Kind::kBeginning;
    uint64_t slice = 0;
    uint64_t reader = 0;              // kPlace: whose
    RestartPointPtr point = nullptr;  // kPoint, kPlace

    // What a run from here to `goal` costs, in slices. To put a point back takes about as long as
    // to decode one.
    uint64_t Cost(uint64_t goal) const { return goal - slice + (kind == Kind::kHere ? 0 : 1); }
  };

  // The cheapest start of a run to `slice` if the decoder stands at `at`.
  Start StartFor(uint64_t slice, uint64_t at) const;
  // The last point at or before `slice`, 0 being one.
  uint64_t PointBefore(uint64_t slice) const;
  // Moves every other point to `dropped`.
  void ThinPoints(std::vector<RestartPointPtr>& dropped);
  // Keeps `reader`'s place. What was kept for it before goes to `dropped`.
  void SetPlace(uint64_t at_reader, uint64_t at, RestartPointPtr point,
                std::vector<RestartPointPtr>& dropped);
  // Takes what `start` names out of the points or places.
  void Forget(const Start& start);
  // Forgets the reader `gone`, which will not come back. Its place goes to `dropped`.
  void ForgetReader(uint64_t gone, std::vector<RestartPointPtr>& dropped);
  // The reader that is going to read on where the decoder stands, or 0. REQUIRES: the decoder is
  // idle.
  uint64_t IsReadOnBy() const { return in_order && slice != kNowhere ? reader : 0; }
  // It's at work and will come to `slice_wanted`.
  bool Passes(uint64_t slice_wanted) const {
    return busy && slice <= slice_wanted && slice_wanted <= goal;
  }
  // It's at work, and either passes `slice_wanted` or reaches it best by going on from where its
  // run ends.
  bool WillStandBefore(uint64_t slice_wanted) const {
    return Passes(slice_wanted) || StartFor(slice_wanted, goal + 1).kind == Start::Kind::kHere;
  }
  // What it costs, in slices, until `slice_wanted` is decoded here for `for_reader`.
  uint64_t CostFor(uint64_t slice_wanted, uint64_t for_reader) const;
  bool HasPoints() const { return !points.empty() || !places.empty(); }

  // These two belong to the thread that made it busy. Null until the first run.
  std::unique_ptr<BlockDecoder> block_decoder;
  DecoderMark beginning;

  MemoryCharge charge;
  uint64_t bytes = 0;         // what it takes while it has memory
  bool has_memory = false;    // `bytes` are counted; without memory it holds no dictionary
  uint64_t slice = kNowhere;  // what it gives next; kNowhere: a point must be put back first
  uint64_t reader = 0;        // of the last run; 0 if that one is gone
  bool in_order = false;      // the last run went on where that reader was
  uint64_t used_at = 0;       // the count of runs then
  std::map<uint64_t, RestartPointPtr> points;
  std::map<uint64_t, Place> places;  // by reader

  bool busy = false;
  uint64_t goal = 0;  // of the run that made it busy
  std::multimap<uint64_t, Waiter*> waiters;
};

}  // namespace xzfs
