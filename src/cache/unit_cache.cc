// A segmented LRU with three lists and single flight.
//
//   ahead      decoded ahead, not read yet; at most a quarter of the budget
//   probation  read in one pass
//   protected  visited again; at most half of the budget, what falls off moves to probation
//
// A scan of a big file passes through ahead and probation only and can't flush what is read again.
// One pass touches a unit many times (the kernel reads a 1 MiB Block in eight requests of 128 KiB),
// so a hit is not yet a visit: callers say which reads begin a new one (`new_visit`), and the
// second visit promotes.
//
// Eviction takes from probation, then protected, then ahead, oldest first, and passes over units
// that a thread copies from: dropping those would free nothing now. Bytes are charged by the units
// themselves, so a unit that is evicted while pinned still counts until its last reader is done. A
// quarter of the budget is never taken from units: if decoders need more than the rest, the budget
// is exceeded, as otherwise each slice would push out the one before it.
//
// Units decoded ahead for a reader that jumped or went away move to the end of probation, so that
// they don't hold the quarter against others.
//
// Invariants, under mutex_:
//   - an entry is in exactly one list and in entries_; `bytes` of a list is the sum over it
//   - a key has an entry, or a flight, or neither; never both, except after Insert of a slice
//     that was decoded on the way while its own flight was starting: the flight's result then finds
//     the entry
//   - no lock is held while a loader runs
//   - of a flight's partial unit only the bytes below ready_bytes are read, and only the loader
//     writes, above them
#include "cache/unit_cache.h"

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <new>
#include <utility>

#include "base/fail.h"

namespace xzfs {
namespace {

// Freed memory that waits for the next unit, beside a sixteenth of the budget: one Block of xz -T0.
constexpr size_t kMostKeptPages = size_t{32} << 20;

// A flight must end whatever happens, or its waiters would hang.
Result<UnitPtr> RunLoader(const UnitCache::Loader& load, const UnitCache::FlightPtr& flight) {
  try {
    return load(flight);
  } catch (const std::bad_alloc&) {
    return Fail(ENOMEM, "out of memory while decoding: lower cache_size");
  }
}

}  // namespace

struct UnitCache::Flight {
  enum class For { kReader, kAhead };
  Flight(const UnitKey& unit_key, For whom)
      : key(unit_key), ahead(whom == For::kAhead), unread_ahead(ahead) {}

  const UnitKey key;
  const bool ahead;
  // What has come so far.
  UnitPtr partial;
  size_t ready_bytes = 0;
  // What readers did with it: becomes the entry's.
  bool unread_ahead;
  bool visited = false;
  size_t handed_over_bytes = 0;
  bool handed_over = false;  // as a whole

  bool done = false;
  Result<UnitPtr> result = nullptr;
  CondVar changed;
};

UnitCache::UnitCache(MemoryBudget& budget, Stats& stats)
    : budget_(budget),
      stats_(stats),
      pages_(std::make_shared<PagePool>(std::min(budget.total() / 16, kMostKeptPages))) {
  budget_.SetEvictor(this);
}

Result<UnitPtr> UnitCache::Get(const UnitKey& key, const Access& access, const Loader& load) {
  FlightPtr flight;
  {
    MutexLock lock(mutex_);
    for (;;) {
      if (const auto it = entries_.find(key); it != entries_.end()) {
        stats_.cache_hits.Add();
        return Touch(it->second, access);
      }
      const auto in_flight = flights_.find(key);
      if (in_flight == flights_.end()) {
        break;
      }
      stats_.single_flight_joins.Add();
      const FlightPtr joined = in_flight->second;
      auto result = Join(joined, access);
      if (result || !joined->ahead) {
        return result;
      }
    }
    stats_.cache_misses.Add();
    if (handed_over_.Has(key)) {
      handed_over_.ForgetFile(key.file_id);
    }
    flight = std::make_shared<Flight>(key, Flight::For::kReader);
    flights_.emplace(key, flight);
  }
  Result<UnitPtr> result = RunLoader(load, flight);
  MutexLock lock(mutex_);
  if (!result || *result != nullptr) {
    FinishLocked(*flight, result);
  }
  return Join(flight, access);
}

// Waits until the flight has what the access needs.
Result<UnitPtr> UnitCache::Join(const FlightPtr& flight, const Access& access) {
  while (!flight->done && flight->ready_bytes < access.end) {
    flight->changed.Wait(mutex_);
  }
  if (!flight->done) {
    return TakePartial(*flight, access);
  }
  if (flight->result) {
    if (const auto it = entries_.find(flight->key); it != entries_.end()) {
      return Touch(it->second, access);
    }
  }
  return flight->result;
}

UnitPtr UnitCache::TakePartial(Flight& flight, const Access& access) {
  flight.visited = flight.visited || access.new_visit;
  flight.handed_over_bytes += access.handed_over_bytes;
  if (std::exchange(flight.unread_ahead, false)) {
    stats_.ahead_useful.Add();
  }
  return flight.partial;
}

void UnitCache::Publish(const FlightPtr& flight, const UnitPtr& unit, size_t ready_bytes) {
  MutexLock lock(mutex_);
  flight->partial = unit;
  flight->ready_bytes = ready_bytes;
  flight->changed.NotifyAll();
}

void UnitCache::LoadAhead(const UnitKey& key, size_t size, const Loader& load) {
  FlightPtr flight;
  {
    Evicted evicted;
    MutexLock lock(mutex_);
    if (entries_.contains(key) || flights_.contains(key) || handed_over_.Has(key) ||
        !MakeRoomAhead(size, evicted)) {
      return;
    }
    flight = std::make_shared<Flight>(key, Flight::For::kAhead);
    flights_.emplace(key, flight);
    ahead_loading_bytes_ += size;
  }
  Result<UnitPtr> result = RunLoader(load, flight);
  MutexLock lock(mutex_);
  FinishLocked(*flight, std::move(result));
  ahead_loading_bytes_ -= size;
}

void UnitCache::Finish(const FlightPtr& flight, Result<UnitPtr> result) {
  MutexLock lock(mutex_);
  FinishLocked(*flight, std::move(result));
}

void UnitCache::FinishLocked(Flight& flight, Result<UnitPtr> result) {
  flight.result = std::move(result);
  flight.done = true;
  flight.partial = nullptr;
  flights_.erase(flight.key);
  flight.changed.NotifyAll();
  if (!flight.result || entries_.contains(flight.key)) {
    return;
  }
  if (flight.handed_over || flight.handed_over_bytes >= (*flight.result)->bytes().size()) {
    AddHandedOver(flight.key);
    return;
  }
  const auto entry = InsertLocked(flight.key, *flight.result,
                                  flight.unread_ahead ? Segment::kAhead : Segment::kProbation);
  entry->visited = flight.visited;
  entry->handed_over_bytes = flight.handed_over_bytes;
}

void UnitCache::Insert(const UnitKey& key, UnitPtr unit) {
  MutexLock lock(mutex_);
  if (!entries_.contains(key)) {
    InsertLocked(key, std::move(unit), Segment::kProbation);
  }
}

bool UnitCache::InsertAhead(const UnitKey& key, UnitPtr unit) {
  MutexLock lock(mutex_);
  if (List(Segment::kAhead).bytes + ahead_loading_bytes_ + unit->bytes().size() >
      budget_.total() / 4) {
    return false;
  }
  if (!entries_.contains(key)) {
    InsertLocked(key, std::move(unit), Segment::kAhead);
  }
  return true;
}

bool UnitCache::Contains(const UnitKey& key) {
  MutexLock lock(mutex_);
  return entries_.contains(key);
}

UnitPtr UnitCache::Peek(const UnitKey& key) {
  MutexLock lock(mutex_);
  const auto it = entries_.find(key);
  return it != entries_.end() ? it->second->unit : nullptr;
}

void UnitCache::NoteHandedOver(const UnitKey& key) {
  UnitPtr released;  // freed after the lock is released
  MutexLock lock(mutex_);
  if (const auto it = entries_.find(key); it != entries_.end()) {
    AddHandedOver(key);
    released = Remove(it->second);
  } else if (const auto flight = flights_.find(key); flight != flights_.end()) {
    flight->second->handed_over = true;  // the kernel was faster than we
  }
}

void UnitCache::AddHandedOver(const UnitKey& key) {
  stats_.handed_over.Add();
  handed_over_.Add(key);
}

UnitCache::EntryList::iterator UnitCache::InsertLocked(const UnitKey& key, UnitPtr unit,
                                                       Segment segment) {
  List(segment).bytes += unit->bytes().size();
  EntryList& list = List(segment).entries;
  list.push_front(Entry{key, std::move(unit), segment, segment == Segment::kAhead});
  entries_.emplace(key, list.begin());
  return list.begin();
}

// The caller holds the unit that this returns, so nothing is freed here.
UnitPtr UnitCache::Touch(EntryList::iterator entry, const Access& access) {
  Segment to = entry->segment;
  if (std::exchange(entry->unread_ahead, false)) {
    stats_.ahead_useful.Add();
    to = Segment::kProbation;
  }
  entry->handed_over_bytes += access.handed_over_bytes;
  if (entry->handed_over_bytes >= entry->unit->bytes().size()) {
    AddHandedOver(entry->key);
    return Remove(entry);
  }
  if (access.new_visit && std::exchange(entry->visited, true)) {
    to = Segment::kProtected;
  }
  Move(entry, to);
  SegmentList& protected_list = List(Segment::kProtected);
  while (protected_list.bytes > budget_.total() / 2 && protected_list.entries.size() > 1) {
    Move(std::prev(protected_list.entries.end()), Segment::kProbation);
  }
  return entry->unit;
}

// To the front of list `to`.
void UnitCache::Move(EntryList::iterator entry, Segment to) {
  const size_t bytes = entry->unit->bytes().size();
  SegmentList& source = List(entry->segment);
  SegmentList& target = List(to);
  source.bytes -= bytes;
  target.bytes += bytes;
  target.entries.splice(target.entries.begin(), source.entries, entry);
  entry->segment = to;
}

void UnitCache::Evict(EntryList::iterator entry, Evicted& evicted) {
  if (entry->unread_ahead) {
    stats_.ahead_wasted.Add();
  }
  stats_.evictions.Add();
  entry->unit->EndCharge();
  evicted.push_back(Remove(entry));
}

UnitPtr UnitCache::Remove(EntryList::iterator entry) {
  UnitPtr unit = std::move(entry->unit);
  List(entry->segment).bytes -= unit->bytes().size();
  entries_.erase(entry->key);
  List(entry->segment).entries.erase(entry);
  return unit;
}

bool UnitCache::EvictOldest(Segment segment, Evicted& evicted) {
  EntryList& list = List(segment).entries;
  for (auto it = list.end(); it != list.begin();) {
    --it;
    // New pins come only through entries_, under mutex_: 1 means that only the entry holds it.
    if (it->unit.use_count() == 1) {
      Evict(it, evicted);
      return true;
    }
  }
  return false;
}

bool UnitCache::MakeRoomAhead(size_t bytes, Evicted& evicted) {
  if (List(Segment::kAhead).bytes + ahead_loading_bytes_ + bytes > budget_.total() / 4) {
    return false;
  }
  while (!Fits(bytes)) {
    if (!EvictOldest(Segment::kProbation, evicted)) {
      return false;
    }
  }
  return true;
}

void UnitCache::ReleaseAhead(uint64_t file_id) {
  MutexLock lock(mutex_);
  EntryList& ahead = List(Segment::kAhead).entries;
  EntryList& probation = List(Segment::kProbation).entries;
  for (auto it = ahead.begin(); it != ahead.end();) {
    const auto entry = it++;
    if (entry->key.file_id == file_id) {
      Move(entry, Segment::kProbation);
      probation.splice(probation.end(), probation, entry);
    }
  }
}

MemoryCharge UnitCache::EvictAndCharge(size_t bytes) {
  Evicted evicted;
  MutexLock lock(mutex_);
  while (!Fits(bytes) && UnitBytes() > budget_.total() / 4) {
    if (!EvictOldest(Segment::kProbation, evicted) && !EvictOldest(Segment::kProtected, evicted) &&
        !EvictOldest(Segment::kAhead, evicted)) {
      break;
    }
  }
  return MemoryCharge(budget_, bytes);
}

void UnitCache::DropFile(uint64_t file_id) {
  Evicted evicted;
  MutexLock lock(mutex_);
  auto next = entries_.lower_bound(UnitKey{.file_id = file_id, .plain_offset = 0});
  while (next != entries_.end() && next->first.file_id == file_id) {
    evicted.push_back(Remove((next++)->second));
  }
}

void UnitCache::DropAll() {
  Evicted evicted;
  MutexLock lock(mutex_);
  for (const Segment segment : {Segment::kProbation, Segment::kProtected, Segment::kAhead}) {
    while (EvictOldest(segment, evicted)) {
    }
  }
  handed_over_ = HandedOver();
}

std::shared_ptr<Unit> UnitCache::NewUnit(size_t size) {
  return std::make_shared<Unit>(pages_, size, budget_.Reserve(size));
}

}  // namespace xzfs
