// Keeps the memory of decoders that are done for the next ones.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "base/memory_budget.h"
#include "base/mutex.h"
#include "xz/decoder_arena.h"

namespace xzfs {

// Keeps as many arenas as threads may decode at once, and a sixteenth of the budget each at most.
// What it keeps is charged to the budget. Thread-safe.
class ArenaPool {
 public:
  // `budget` outlives the pool.
  ArenaPool(MemoryBudget& budget, size_t count) : budget_(budget), most_arenas_(count) {}

  // The one that was used last, or null.
  std::unique_ptr<DecoderArena> Take() EXCLUDES(mutex_);
  // May be null.
  void Give(std::unique_ptr<DecoderArena> arena) EXCLUDES(mutex_);

 private:
  struct Kept {
    std::unique_ptr<DecoderArena> arena;
    MemoryCharge charge;
  };

  MemoryBudget& budget_;
  const size_t most_arenas_;
  Mutex mutex_;
  std::vector<Kept> kept_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
