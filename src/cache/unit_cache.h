// Decoded bytes of a mount, shared by all readers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/memory_budget.h"
#include "base/mutex.h"
#include "base/page_pool.h"
#include "base/stats.h"
#include "cache/handed_over.h"
#include "cache/unit.h"
#include "xzfs/result.h"

namespace xzfs {

// The units, within the one memory budget of a mount. Thread-safe. The budget covers every unit
// that is alive, those being decoded and those still pinned by a reader after their eviction
// included. Two things may exceed it: what threads hold at that moment, and decoders that take more
// than three quarters, as a quarter is always there for units. The algorithm is described in the
// source.
class UnitCache : private Evictor {
 public:
  // One load in progress. Its members are the cache's.
  struct Flight;
  using FlightPtr = std::shared_ptr<Flight>;
  // Gives the unit; or null, if the load goes on elsewhere: then Publish was called for what the
  // reader needs, and Finish will be called.
  using Loader = std::function<Result<UnitPtr>(const FlightPtr& flight)>;

  // What a reader does with a unit.
  struct Access {
    // This is not just the next piece of a sequential pass over the unit: only repeated visits make
    // a unit one that is read again.
    bool new_visit = false;
    // How many of its bytes are handed over to the kernel's page cache. A unit that was handed over
    // whole is dropped.
    size_t handed_over_bytes = 0;
    // Only this many, from the unit's start, are needed now.
    size_t end = SIZE_MAX;
  };

  // The cache is the budget's Evictor. Both outlive the cache and every unit.
  UnitCache(MemoryBudget& budget, Stats& stats);
  ~UnitCache() { budget_.SetEvictor(nullptr); }
  UnitCache(const UnitCache&) = delete;
  UnitCache& operator=(const UnitCache&) = delete;

  // The unit at `key`, decoded by `load` if it isn't here. Of several callers for one key only one
  // runs `load`, the others wait for it and get its result (errors too, but never an error of a
  // decode-ahead: then one of the waiters loads again). Errors are not kept.
  // Blocks. REQUIRES: the caller holds no lock.
  // Of the unit that this returns, the bytes up to `access.end` have a value.
  Result<UnitPtr> Get(const UnitKey& key, const Access& access, const Loader& load)
      EXCLUDES(mutex_);

  // For loaders. The first `ready_bytes` of `unit` have their value and won't change: readers that
  // need no more get them now.
  void Publish(const FlightPtr& flight, const UnitPtr& unit, size_t ready_bytes) EXCLUDES(mutex_);
  // Ends a load that went on elsewhere.
  void Finish(const FlightPtr& flight, Result<UnitPtr> result) EXCLUDES(mutex_);

  // Decodes the unit of `size` bytes ahead of its reader unless it is here, on its way, handed
  // over, or there is no memory that may be used for it. Failures are dropped: the reader will find
  // them.
  void LoadAhead(const UnitKey& key, size_t size, const Loader& load) EXCLUDES(mutex_);

  // Adds a unit that was decoded on the way to another. Does nothing if it is here already.
  void Insert(const UnitKey& key, UnitPtr unit) EXCLUDES(mutex_);

  // Adds a unit that was decoded before its reader asks for it. Returns false, and does nothing, if
  // decode-ahead holds its share already.
  bool InsertAhead(const UnitKey& key, UnitPtr unit) EXCLUDES(mutex_);

  // The reader for which units of this file were decoded ahead went elsewhere: the units that no
  // reader has read are the next to be evicted.
  void ReleaseAhead(uint64_t file_id) EXCLUDES(mutex_);

  bool Contains(const UnitKey& key) EXCLUDES(mutex_);
  // The unit if it is here; that is no visit.
  UnitPtr Peek(const UnitKey& key) EXCLUDES(mutex_);
  // The unit was handed over whole: it is dropped if it is here, and not decoded ahead until a
  // reader asks for it.
  void NoteHandedOver(const UnitKey& key) EXCLUDES(mutex_);

  // A unit of `size` uninitialised bytes, charged to the budget.
  std::shared_ptr<Unit> NewUnit(size_t size);

  MemoryBudget& budget() const { return budget_; }
  // Drops the units of a file that no reader will ask for again.
  void DropFile(uint64_t file_id) EXCLUDES(mutex_);
  // Evicts all units that no reader holds just now, and forgets what was handed over.
  void DropAll() EXCLUDES(mutex_);

 private:
  enum class Segment { kProbation, kProtected, kAhead };

  struct Entry {
    UnitKey key;
    UnitPtr unit;
    Segment segment = Segment::kProbation;
    bool unread_ahead = false;  // decoded ahead and not read yet
    bool visited = false;       // read in one pass; the next pass protects it
    size_t handed_over_bytes = 0;
  };
  using EntryList = std::list<Entry>;
  struct SegmentList {
    EntryList entries;  // most recently used first
    size_t bytes = 0;
  };

  // Units that left the lists: they are freed, a system call each, after mutex_ is released.
  using Evicted = std::vector<UnitPtr>;

  MemoryCharge EvictAndCharge(size_t bytes) override EXCLUDES(mutex_);
  UnitPtr Touch(EntryList::iterator entry, const Access& access) REQUIRES(mutex_);
  Result<UnitPtr> Join(const FlightPtr& flight, const Access& access) REQUIRES(mutex_);
  UnitPtr TakePartial(Flight& flight, const Access& access) REQUIRES(mutex_);
  void FinishLocked(Flight& flight, Result<UnitPtr> result) REQUIRES(mutex_);
  EntryList::iterator InsertLocked(const UnitKey& key, UnitPtr unit, Segment segment)
      REQUIRES(mutex_);
  UnitPtr Remove(EntryList::iterator entry) REQUIRES(mutex_);
  void AddHandedOver(const UnitKey& key) REQUIRES(mutex_);
  void Move(EntryList::iterator entry, Segment to) REQUIRES(mutex_);
  void Evict(EntryList::iterator entry, Evicted& evicted) REQUIRES(mutex_);
  bool EvictOldest(Segment segment, Evicted& evicted) REQUIRES(mutex_);
  bool Fits(size_t bytes) const {
    return budget_.used() + pages_->kept_bytes() + bytes <= budget_.total();
  }
  size_t UnitBytes() const REQUIRES(mutex_) {
    return segments_[0].bytes + segments_[1].bytes + segments_[2].bytes;
  }
  bool MakeRoomAhead(size_t bytes, Evicted& evicted) REQUIRES(mutex_);
  SegmentList& List(Segment segment) REQUIRES(mutex_) {
    return segments_[static_cast<size_t>(segment)];
  }

  MemoryBudget& budget_;
  Stats& stats_;
  const std::shared_ptr<PagePool> pages_;  // of units, which may outlive the cache
  Mutex mutex_;
  // In their order, so that those of one file are neighbours.
  std::map<UnitKey, EntryList::iterator> entries_ GUARDED_BY(mutex_);
  std::unordered_map<UnitKey, FlightPtr, UnitKeyHash> flights_ GUARDED_BY(mutex_);
  std::array<SegmentList, 3> segments_ GUARDED_BY(mutex_);  // by Segment
  size_t ahead_loading_bytes_ GUARDED_BY(mutex_) = 0;
  HandedOver handed_over_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
