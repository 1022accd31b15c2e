// What all open compressed files of a mount share.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "base/memory_budget.h"
#include "base/stats.h"
#include "base/turns.h"
#include "base/worker_pool.h"
#include "cache/arena_pool.h"
#include "cache/damage_notes.h"
#include "cache/giant_blocks.h"
#include "cache/index_cache.h"
#include "cache/restart_store.h"
#include "cache/small_files.h"
#include "cache/unit_cache.h"

namespace xzfs {

// When a byte of a Block may be returned.
enum class Verify {
  kBlock,   // after the Check of its Block was verified
  kStream,  // as soon as it is decoded; the rest of the Block is decoded and verified after
};

// The budget, the cache and the decoders of a mount. Thread-safe. Outlives every XzReader.
struct ReadEngine {
  struct Limits {
    size_t budget_bytes;
    unsigned threads;
    // Blocks up to this size are decoded whole and verified before a byte is returned.
    uint64_t whole_block_bytes;
    Verify verify = Verify::kBlock;
    // How large the temporary file for restart points may become; 0: there is none.
    uint64_t restart_file_bytes = 0;
    // The most that a file may ask for: one decoder, or reading one Index. Unset: of decoders the
    // larger of 128 MiB and the budget; of Indexes what IndexCache says.
    std::optional<uint64_t> memory_limit_bytes = {};
  };

  // Opens the temporary file, so it is to be constructed before the process gives up the right to
  // do that.
  explicit ReadEngine(const Limits& limits);

  // Starts decode-ahead. Until then readers decode what they ask for and nothing else.
  void Start() { pool.Start(); }

  const uint64_t whole_block_bytes;
  const Verify verify;
  // The most memory that one decoder may take: what a file may ask of us.
  const uint64_t decoder_limit;
  Stats stats;
  MemoryBudget budget;
  UnitCache cache;
  ArenaPool arenas;  // of decoders of whole Blocks
  Turns turns;       // to decode
  DamageNotes damage;
  RestartStore restarts;
  GiantBlocks giants;
  IndexCache indexes;
  SmallFiles small_files;
  std::atomic<uint64_t> next_reader{1};  // names readers; guards nothing
  // Plain bytes of the Blocks that the pool still finishes after their readers were served, and how
  // many there may be. Each such Block holds a unit and a decoder. Guards nothing.
  std::atomic<uint64_t> unfinished_bytes{0};
  const uint64_t most_unfinished_bytes;
  // Last: its tasks use all of the above.
  WorkerPool pool;
};

}  // namespace xzfs
