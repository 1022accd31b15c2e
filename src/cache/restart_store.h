// Where the restart points of giant Blocks are kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/memory_budget.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "cache/region_file.h"
#include "xz/block_decoder.h"

namespace xzfs {

class RestartStore;

// One restart point of one decoder. Immutable. The destructor frees its room, which may be many
// pages: let it go with no lock held. Does not outlive its store.
class RestartPoint {
 public:
  RestartPoint(RestartStore& store, size_t history_bytes)
      : store_(store), history_bytes_(history_bytes) {}
  ~RestartPoint();
  RestartPoint(const RestartPoint&) = delete;
  RestartPoint& operator=(const RestartPoint&) = delete;

 private:
  friend class RestartStore;

  RestartStore& store_;
  const size_t history_bytes_;
  DecoderMark mark_;
  MemoryCharge charge_;
  uint64_t memory_bytes_ = 0;  // counted by the store
  // The history: one or the other.
  std::span<std::byte> pages_;
  std::optional<RegionFile::Region> region_;
};
using RestartPointPtr = std::shared_ptr<const RestartPoint>;

// Keeps restart points in memory, within a quarter of the budget. Histories that don't fit there
// are kept in a file. Thread-safe.
class RestartStore {
 public:
  enum class Place { kMemory, kAnywhere };

  // `budget` outlives the store. `file` as for RegionFile.
  RestartStore(MemoryBudget& budget, UniqueFd file, uint64_t file_limit_bytes)
      : budget_(budget), file_(std::move(file), file_limit_bytes) {}

  // A point where `decoder` stands now; null if there is no room for it. Blocks: on I/O.
  // REQUIRES: the decoder has restart points and its last step succeeded.
  RestartPointPtr Save(BlockDecoder& decoder, Place place) EXCLUDES(mutex_);
  // Puts `point` back into `decoder`. Returns false if its bytes can't be read: then the decoder
  // stands nowhere until another point is put back. Blocks: on I/O. REQUIRES: `point` was saved of
  // `decoder`.
  bool Restore(const RestartPoint& point, BlockDecoder& decoder) const;

  // What its points take of the budget.
  uint64_t memory_bytes() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return memory_bytes_;
  }
  // How many bytes of histories it may hold.
  uint64_t capacity_bytes() const { return HistoryShare() + file_.limit_bytes(); }

 private:
  friend class RestartPoint;

  // Less than the whole share: a point in the file needs memory for all except its history.
  uint64_t HistoryShare() const { return budget_.total() / 16 * 3; }
  bool Count(RestartPoint& point, uint64_t bytes, uint64_t most) EXCLUDES(mutex_);
  bool SaveInMemory(RestartPoint& point, const HistoryPieces& history);
  bool SaveInFile(RestartPoint& point, const HistoryPieces& history);

  MemoryBudget& budget_;
  RegionFile file_;
  Mutex mutex_;
  uint64_t memory_bytes_ GUARDED_BY(mutex_) = 0;
};

}  // namespace xzfs
