// A giant Block can only be decoded in order, so what counts is where a decoder can begin: where it
// stands, or at one of its restart points.
//
// A decoder and its points are a *home* of the Block. The points hold addresses, so homes can't
// share them; a Block has at most as many homes as threads decode. A request takes the idle home
// that gets to its slice with the least decoding. If one at work will get there sooner it waits:
// the run either passes the slice and delivers it, or ends, and the request chooses again. Who
// would wait for a home to come back from elsewhere, although one is free or could be made, only
// does so until all that was waited for the Block is what that one would cost: from then on there
// are two that work.
//
// Points are saved while a run passes over many slices, every `spacing`: this is what random
// readers make it do. A reader who reads on in order gets them far apart and only in memory: it
// must not pay for jumps that may never come. `spacing` is about the size of the dictionary, which
// is the size of a point; where the whole Block at that spacing would take more than the store has
// it is larger. When the store is full, what wasn't used for long goes; if there is no such thing,
// every other point of the Block goes and its spacing doubles.
//
// Before a home is moved away from where another reader reads on in order, a *bookmark* is saved
// there. So readers who share a home pay two copies of the dictionary a turn, and never begin
// again.
//
// A run that passes over slices leaves the last of them in the cache, an eighth of the budget, for
// those who read backwards.
//
// Memory: points take at most a quarter of the budget, and with the decoders that are awake three
// quarters, or there is one decoder. Others go to sleep: a bookmark if a reader goes on there, then
// the dictionary's memory is given back. If there is no room for that bookmark either, the reader's
// place is lost, and whoever took it lets its decoder run on for a few slices, kept as decoded
// ahead, so that what it costs to come here again is shared by all of them.
//
// Invariants, under mutex_: a home that is busy belongs to one thread, which alone uses its
// decoder; a home that is idle has a slice, points or both; a Want is in the map of a busy home
// until it is over; a run never waits for a run, so waiting ends.
#include "cache/slice_decoder.h"

#include <algorithm>
#include <cerrno>
#include <new>
#include <optional>
#include <utility>

#include "base/try.h"

namespace xzfs {
namespace {

constexpr uint64_t kNowhere = DecoderHome::kNowhere;

// How far before its slice a decoder may stand to be used for decode-ahead, or to be said to go on
// in order: those slices are wanted soon anyway.
constexpr uint64_t kReach = 8;

// What a new decoder costs, in slices, beside decoding from the Block's start: fresh memory, which
// the Block keeps. So one that nobody needs where it stands is used first.
constexpr uint64_t kNewHomeCost = 2;

// After so many changes around it a reader who waits for memory starts all the same.
constexpr int kMostWaits = 16;

// Homes of all Blocks. Each costs about 100 KiB even when it's asleep.
constexpr uint64_t kMostHomes = 64;
// What is beside a decoder that is asleep and what its points hold.
constexpr uint64_t kAsleepBytes = uint64_t{64} << 10;

// A home that wasn't used while so many runs ended is taken for abandoned.
constexpr uint64_t kStaleRuns = 256;

// Running on costs the reader who does it about 10 ms a slice.
constexpr uint64_t kMostRunOn = 16;

}  // namespace

Result<UnitPtr> SliceDecoder::Load(const Request& request) {
  Claim claim;
  UnitPtr delivered;
  Outcome outcome = ClaimHome(request, 0, claim, delivered);
  if (outcome == Outcome::kTellBytes) {
    auto bytes = BlockDecoderMemory(request.stored, request.loaded.index(), request.block);
    if (!bytes) {
      return Failure(damage_.Add(request.loaded.id(), request.loaded.name(), request.block, 0,
                                 std::move(bytes.error())));
    }
    outcome = ClaimHome(request, *bytes + kAsleepBytes, claim, delivered);
  }
  if (outcome == Outcome::kDelivered) {
    return delivered;
  }
  if (outcome == Outcome::kNotAhead) {
    return Fail(EAGAIN, "no free decoder stands just before the slice");
  }
  Result<UnitPtr> unit = nullptr;
  try {
    unit = Drive(request, claim);
  } catch (const std::bad_alloc&) {
    // The run must end, or those who wait for it would hang.
    unit = Fail(ENOMEM, "out of memory while decoding: lower cache_size");
  }
  claim.good = claim.good && unit.has_value();
  EndRun(request, claim);
  return unit;
}

// `new_home_bytes`: what a new decoder would need; 0 if that isn't known yet.
SliceDecoder::Outcome SliceDecoder::ClaimHome(const Request& request, uint64_t new_home_bytes,
                                              Claim& claim, UnitPtr& unit) {
  Dropped dropped;
  MutexLock lock(mutex_);
  for (int waits = 0;;) {
    const Choice choice = Choose(request);
    if (request.effort == Effort::kAhead && (choice.wait || choice.home == nullptr)) {
      return Outcome::kNotAhead;
    }
    if (choice.wait) {
      unit = WaitFor(*choice.home, request.slice);
      if (unit != nullptr) {
        return Outcome::kDelivered;
      }
      continue;
    }
    if (choice.home == nullptr && new_home_bytes == 0) {
      return Outcome::kTellBytes;
    }
    const bool awake = choice.home != nullptr && choice.home->awake;
    const uint64_t bytes = choice.home != nullptr ? choice.home->bytes : new_home_bytes;
    if (!awake && !MakeRoom(bytes, waits, claim)) {
      continue;
    }
    if (choice.home == nullptr && home_count_ >= kMostHomes) {
      const auto [key, oldest] =
          OldestIdle([](const BlockKey&, const DecoderHome&) { return true; });
      if (oldest != nullptr) {
        DropHome(key, *oldest, dropped);
      }
    }
    TakeHome(request, choice.home, bytes, claim);
    return Outcome::kClaimed;
  }
}

SliceDecoder::Choice SliceDecoder::Choose(const Request& request) {
  const auto found = blocks_.find(KeyOf(request));
  if (found == blocks_.end()) {
    return {};
  }
  GiantBlock& block = found->second;
  if (request.effort == Effort::kAhead) {
    return ChooseAhead(block, request.slice);
  }
  Choice free;  // a new home, unless a better one is found
  // Where there are no points a reader whose decoder is taken has to begin again.
  const uint64_t most_homes =
      block.spacing.dense == RestartSpacing::kNone ? kMostHomes : limits_.homes;
  uint64_t free_cost = block.homes.size() < most_homes ? request.slice + kNewHomeCost : kNowhere;
  Choice run{nullptr, true};
  uint64_t run_cost = kNowhere;
  for (DecoderHome& home : block.homes) {
    const uint64_t cost = home.CostFor(request.slice, request.reader);
    if (home.busy && cost < run_cost) {
      run_cost = cost;
      run.home = &home;
    } else if (!home.busy && cost < free_cost) {
      free_cost = cost;
      free.home = &home;
    }
  }
  if (run_cost > free_cost) {
    return free;
  }
  if (!run.home->WillStandBefore(request.slice)) {
    if (block.waited >= free_cost) {
      block.waited = 0;
      return free;
    }
    block.waited += run_cost;
  }
  return run;
}

// The idle home that stands just before the slice. If one at work gets there, it will be decoded in
// time without us.
SliceDecoder::Choice SliceDecoder::ChooseAhead(GiantBlock& block, uint64_t slice) {
  Choice best;
  for (DecoderHome& home : block.homes) {
    if (home.slice > slice || home.slice + kReach < slice) {
      continue;
    }
    if (home.busy) {
      return {&home, true};
    }
    if (best.home == nullptr || home.slice > best.home->slice) {
      best.home = &home;
    }
  }
  return best;
}

UnitPtr SliceDecoder::WaitFor(DecoderHome& home, uint64_t slice) {
  DecoderHome::Want want;
  home.wants.emplace(slice, &want);
  while (!want.over) {
    changed_.Wait(mutex_);
  }
  return want.unit;
}

// Makes `home`, or a new one if it is null, busy with a run to the slice that was asked for.
void SliceDecoder::TakeHome(const Request& request, DecoderHome* home, uint64_t bytes,
                            Claim& claim) {
  if (home == nullptr) {
    home = &blocks_[KeyOf(request)].homes.emplace_back();
    home->bytes = bytes;
    ++home_count_;
  }
  claim.home = home;
  claim.start = home->StartFor(request.slice, home->slice);
  claim.slice = claim.start.slice;
  // The requests of one pass come in somewhat different an order.
  claim.in_order =
      request.slice - claim.slice <= kReach && claim.start.kind != DecoderHome::Start::Kind::kPoint;
  const bool goes_on = claim.in_order && claim.start.kind == DecoderHome::Start::Kind::kHere;
  if (!goes_on && home->IsReadOnBy() != request.reader) {
    claim.left = {home->IsReadOnBy(), home->slice};
  }
  if (claim.start.kind == DecoderHome::Start::Kind::kBookmark &&
      claim.start.reader == request.reader) {
    home->bookmarks.erase(request.reader);  // the claim holds it
  }
  claim.wake = !home->awake;
  if (claim.wake) {
    home->awake = true;
    awake_bytes_ += home->bytes;
  }
  home->busy = true;
  home->slice = claim.slice;
  home->goal = request.slice;
}

// Makes room for one more decoder of `bytes` to be awake. Returns false if the lock was released
// and the world must be looked at again.
bool SliceDecoder::MakeRoom(uint64_t bytes, int& waits, Claim& claim) {
  const uint64_t limit = cache_.budget().total() / 4 * 3;
  if (awake_bytes_ == 0 || awake_bytes_ + store_.memory_bytes() + bytes <= limit) {
    return true;
  }
  const auto [key, oldest] =
      OldestIdle([](const BlockKey&, const DecoderHome& home) { return home.awake; });
  if (oldest != nullptr) {
    claim.crowded = !PutToSleep(key, *oldest) || claim.crowded;
    return false;
  }
  if (waits == kMostWaits) {
    return true;
  }
  ++waits;
  changed_.Wait(mutex_);
  return false;
}

// Returns false if a reader lost its place.
bool SliceDecoder::PutToSleep(const BlockKey& key, DecoderHome& home) {
  const uint64_t reader = home.IsReadOnBy();
  const uint64_t slice = std::exchange(home.slice, kNowhere);
  home.busy = true;
  home.goal = 0;
  Dropped dropped;
  mutex_.Unlock();
  RestartPointPtr place = reader != 0 ? SavePlace(key, home) : nullptr;
  home.decoder->Sleep();
  MemoryCharge charge = cache_.Reserve(kAsleepBytes);
  mutex_.Lock();
  if (place != nullptr) {
    home.SetBookmark(reader, slice, std::move(place), dropped.points);
  }
  home.in_order = false;
  home.awake = false;
  awake_bytes_ -= home.bytes;
  home.charge = std::move(charge);
  EndBusy(home);
  const bool lost = home.reader != 0 && slice != kNowhere && !home.HasPoints();
  if (!home.HasPoints()) {
    DropHome(key, home, dropped);
  }
  mutex_.Unlock();
  dropped = Dropped();
  mutex_.Lock();
  return !lost;
}

void SliceDecoder::EndBusy(DecoderHome& home) {
  for (auto& [slice, want] : home.wants) {
    want->over = true;
  }
  home.wants.clear();
  home.busy = false;
  changed_.NotifyAll();
}

void SliceDecoder::DropHome(const BlockKey& key, DecoderHome& home, Dropped& dropped) {
  const auto block = blocks_.find(key);
  HomeList& homes = block->second.homes;
  const auto it = std::find_if(homes.begin(), homes.end(),
                               [&home](const DecoderHome& other) { return &other == &home; });
  if (home.awake) {
    awake_bytes_ -= home.bytes;
  }
  --home_count_;
  dropped.homes.splice(dropped.homes.end(), homes, it);
  if (homes.empty()) {
    blocks_.erase(block);
  }
}

// Of the idle homes that `may` agrees to, the one that wasn't used for longest; or null.
template <class Predicate>
std::pair<SliceDecoder::BlockKey, DecoderHome*> SliceDecoder::OldestIdle(const Predicate& may) {
  std::pair<BlockKey, DecoderHome*> oldest{};
  for (auto& [key, block] : blocks_) {
    for (DecoderHome& home : block.homes) {
      if (!home.busy && may(key, home) &&
          (oldest.second == nullptr || home.used_at < oldest.second->used_at)) {
        oldest = {key, &home};
      }
    }
  }
  return oldest;
}

Result<UnitPtr> SliceDecoder::Drive(const Request& request, Claim& claim) {
  if (Status begun = Begin(request, claim); !begun) {
    return Failure(damage_.Add(request.loaded.id(), request.loaded.name(), request.block, 0,
                               std::move(begun.error())));
  }
  auto unit = Decode(request, claim);
  if (unit && claim.crowded && request.effort == Effort::kReader) {
    RunOn(request, claim);
  }
  return unit;
}

// Brings the claim's decoder to where the run begins.
Status SliceDecoder::Begin(const Request& request, Claim& claim) {
  using Kind = DecoderHome::Start::Kind;
  DecoderHome& home = *claim.home;
  if (claim.wake) {
    home.charge = cache_.Reserve(home.bytes);
  }
  if (claim.left.reader != 0) {
    KeepPlace(request, claim);
  }
  while (claim.start.point != nullptr) {
    if (store_.Restore(*claim.start.point, *home.decoder)) {
      stats_.giant_restores.Add();
      claim.start.point.reset();
      return {};
    }
    ForgetStart(request, claim);
  }
  if (claim.start.kind == Kind::kHere) {
    return {};
  }
  stats_.giant_restarts.Add();
  if (home.decoder != nullptr && !home.decoder->dictionary().empty()) {
    home.decoder->Restore(home.beginning);
    return {};
  }
  return Open(request, home);
}

Status SliceDecoder::Open(const Request& request, DecoderHome& home) {
  home.decoder.reset();
  XZFS_ASSIGN_OR_RETURN(home.decoder, BlockDecoder::Open(request.stored, request.loaded.index(),
                                                         request.block, limits_.decoder_bytes));
  const size_t dictionary_bytes = home.decoder->dictionary().size();
  if (dictionary_bytes != 0) {
    home.beginning = home.decoder->Mark();
  }
  MutexLock lock(mutex_);
  GiantBlock& block = blocks_.find(KeyOf(request))->second;
  if (block.spacing.dense == 0) {
    block.spacing =
        RestartSpacing::For(request.block.plain_size, dictionary_bytes, store_.capacity_bytes());
  }
  return {};
}

// The point where the claim's run should begin can't be read: chooses another start.
void SliceDecoder::ForgetStart(const Request& request, Claim& claim) {
  DecoderHome& home = *claim.home;
  std::vector<RestartPointPtr> dropped;
  dropped.push_back(std::move(claim.start.point));
  MutexLock lock(mutex_);
  home.Forget(claim.start);
  claim.start = home.StartFor(request.slice, kNowhere);
  claim.slice = claim.start.slice;
  claim.in_order = false;
  home.slice = claim.slice;
}

RestartPointPtr SliceDecoder::SavePoint(DecoderHome& home, RestartStore::Place place) {
  if (home.decoder->dictionary().empty()) {
    return nullptr;
  }
  RestartPointPtr point = store_.Save(*home.decoder, place);
  if (point != nullptr) {
    stats_.giant_points.Add();
  }
  return point;
}

// A point that is worth others.
RestartPointPtr SliceDecoder::SavePlace(const BlockKey& key, DecoderHome& home) {
  RestartPointPtr place = SavePoint(home, RestartStore::Place::kAnywhere);
  if (place == nullptr) {
    MakeRoomForPoints(key);
    place = SavePoint(home, RestartStore::Place::kAnywhere);
  }
  return place;
}

// Saves the place of the reader whom this run takes the decoder from.
void SliceDecoder::KeepPlace(const Request& request, const Claim& claim) {
  DecoderHome& home = *claim.home;
  RestartPointPtr place = SavePlace(KeyOf(request), home);
  if (place == nullptr) {
    return;
  }
  std::vector<RestartPointPtr> dropped;
  MutexLock lock(mutex_);
  home.SetBookmark(claim.left.reader, claim.left.slice, std::move(place), dropped);
}

// Decodes up to the slice that was asked for.
Result<UnitPtr> SliceDecoder::Decode(const Request& request, Claim& claim) {
  const BlockInfo& block = request.block;
  std::shared_ptr<Unit> unit;
  for (;;) {
    MaybeSavePoint(request, claim);
    const uint64_t slice = claim.slice;
    XZFS_RETURN_IF_ERROR(DecodeNext(request, claim, unit));
    if (slice == request.slice) {
      Deliver(*claim.home, slice, unit);
      return unit;
    }
    const bool keep = slice + KeepSlices() >= request.slice;
    if (keep) {
      cache_.Insert({request.loaded.id(), block.plain_offset + slice * kSliceBytes}, unit);
    }
    if (Deliver(*claim.home, slice, unit) || keep) {
      unit = nullptr;  // it is shared now: decode the next slice elsewhere
    }
  }
}

// Decodes the next slice into `unit`, a new one if it is null or of another size.
Status SliceDecoder::DecodeNext(const Request& request, Claim& claim, std::shared_ptr<Unit>& unit) {
  const BlockInfo& block = request.block;
  const uint64_t offset = claim.slice * kSliceBytes;
  const uint64_t size = std::min(kSliceBytes, block.plain_size - offset);
  if (unit == nullptr || unit->bytes().size() != size) {
    unit = cache_.NewUnit(size);
  }
  std::optional<Turns::Hold> turn;
  if (request.effort == Effort::kReader) {
    turn.emplace(turns_, Turns::Priority::kHigh);
  }
  Status status = claim.home->decoder->Decode(request.stored, unit->mutable_bytes());
  turn.reset();
  if (!status) {
    // At the Block's end it is the Check that failed: nothing of the Block is to be trusted.
    const bool at_end = offset + size == block.plain_size;
    return Failure(damage_.Add(request.loaded.id(), request.loaded.name(), block,
                               at_end ? 0 : offset, std::move(status.error())));
  }
  stats_.decoded_bytes.Add(size);
  ++claim.slice;
  return {};
}

// Saves a point where the claim's decoder stands if it's time for one.
void SliceDecoder::MaybeSavePoint(const Request& request, const Claim& claim) {
  DecoderHome& home = *claim.home;
  const bool ordered = claim.in_order;
  uint64_t spacing = 0;
  uint64_t before = 0;
  {
    MutexLock lock(mutex_);
    const GiantBlock& block = blocks_.find(KeyOf(request))->second;
    spacing = block.spacing.Of(ordered);
    before = home.PointBefore(claim.slice);
  }
  if (claim.slice - before < spacing) {
    return;
  }
  RestartPointPtr point =
      SavePoint(home, ordered ? RestartStore::Place::kMemory : RestartStore::Place::kAnywhere);
  if (point != nullptr) {
    MutexLock lock(mutex_);
    home.points.emplace(claim.slice, std::move(point));
  } else if (!ordered) {
    MakeRoomForPoints(KeyOf(request));
  }
}

void SliceDecoder::MakeRoomForPoints(const BlockKey& key) {
  Dropped dropped;
  MutexLock lock(mutex_);
  const auto [stale_key, stale] =
      OldestIdle([&](const BlockKey& other, const DecoderHome& home) REQUIRES(mutex_) {
        return other != key && home.used_at + kStaleRuns < runs_;
      });
  if (stale != nullptr) {
    DropHome(stale_key, *stale, dropped);
    return;
  }
  GiantBlock& block = blocks_.find(key)->second;
  for (DecoderHome& home : block.homes) {
    home.ThinPoints(dropped.points);
  }
  if (!dropped.points.empty()) {
    block.spacing.Double();
  }
}

// A reader's place was lost for this run's decoder: gets some more slices out of it. Failures are
// left to who asks for those bytes.
void SliceDecoder::RunOn(const Request& request, Claim& claim) {
  const BlockInfo& block = request.block;
  const uint64_t most = std::min(kMostRunOn, KeepSlices());
  for (uint64_t i = 0; i < most && claim.slice * kSliceBytes < block.plain_size; ++i) {
    const uint64_t slice = claim.slice;
    std::shared_ptr<Unit> unit;
    if (!DecodeNext(request, claim, unit)) {
      claim.good = false;
      return;
    }
    Deliver(*claim.home, slice, unit);
    const UnitKey key{request.loaded.id(), block.plain_offset + slice * kSliceBytes};
    if (!cache_.InsertAhead(key, unit)) {
      return;
    }
  }
}

// Gives `unit` to those who want it and moves the home on. Returns whether anybody took it.
bool SliceDecoder::Deliver(DecoderHome& home, uint64_t slice, const UnitPtr& unit) {
  MutexLock lock(mutex_);
  const auto [first, last] = home.wants.equal_range(slice);
  const bool taken = first != last;
  for (auto it = first; it != last; ++it) {
    it->second->unit = unit;
    it->second->over = true;
  }
  home.wants.erase(first, last);
  home.slice = slice + 1;
  if (taken) {
    changed_.NotifyAll();
  }
  return taken;
}

void SliceDecoder::EndRun(const Request& request, const Claim& claim) {
  DecoderHome& home = *claim.home;
  const bool at_end = claim.slice * kSliceBytes >= request.block.plain_size;
  Dropped dropped;
  MutexLock lock(mutex_);
  home.slice = claim.good && !at_end ? claim.slice : kNowhere;
  if (request.effort == Effort::kReader) {  // decode-ahead may outlive its reader
    home.reader = request.reader;
  }
  home.in_order = claim.in_order;
  home.used_at = ++runs_;
  EndBusy(home);
  if (home.slice == kNowhere && !home.HasPoints()) {
    DropHome(KeyOf(request), home, dropped);
  }
}

void SliceDecoder::Disown(uint64_t reader) {
  Dropped dropped;
  MutexLock lock(mutex_);
  std::vector<std::pair<BlockKey, DecoderHome*>> of_no_use;
  for (auto& [key, block] : blocks_) {
    for (DecoderHome& home : block.homes) {
      home.DisownBy(reader, dropped.points);
      if (!home.busy && home.slice == kNowhere && !home.HasPoints()) {
        of_no_use.emplace_back(key, &home);
      }
    }
  }
  for (const auto& [key, home] : of_no_use) {
    DropHome(key, *home, dropped);
  }
}

}  // namespace xzfs
