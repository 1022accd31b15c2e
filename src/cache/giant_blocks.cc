// A giant Block can only be decoded in order, so what counts is where a decoder can begin: where it
// stands, or at one of its restart points.
//
// A SeekableDecoder shares its points with none; a Block has at most as many as threads decode. A
// request takes the idle decoder that gets to its slice with the least decoding. If one at work
// will get there sooner the request waits: the run either passes the slice and delivers it, or
// ends, and the request chooses again. If another decoder is free or could be made, a request waits
// for one to come back from elsewhere only until all such waits for the Block together have cost as
// much as the other one would. From then on two decoders work.
//
// Points are saved while a run passes over many slices, every `spacing`: this is what random
// readers make it do. A reader that reads on in order gets them far apart and only in memory: it
// must not pay for jumps that may never come. `spacing` is about the size of the dictionary, which
// is the size of a point; if the points of the whole Block at that spacing would take more than the
// store has, it is larger. When the store is full, a decoder of another Block that wasn't used for
// long is dropped with its points. If there is none, every other point of the Block is dropped and
// its spacing doubles.
//
// Before a decoder is moved away from where another reader reads on in order, a point is saved
// there: that reader's *place*. So readers that share a decoder pay two copies of the dictionary a
// turn, and never begin again.
//
// A run over slices leaves the last of them in the cache, an eighth of the budget, for readers that
// read backwards.
//
// Memory: points take at most a quarter of the budget, and with the decoders that have memory three
// quarters, or there is one decoder. The others give up their memory: if a reader reads on there
// its place is saved, then the dictionary is freed. If there is no room for that place either, it
// is lost, and the reader that took the memory lets its decoder run on for a few slices, kept as
// decoded ahead, so that all of them share what it costs to come here again.
//
// Invariants, under mutex_: a decoder that is busy belongs to one thread, which alone uses its
// block_decoder; a decoder that is idle has a slice, points or both; a Waiter is in the map of a
// busy decoder until it is over; a run never waits for a run, so waiting ends.
#include "cache/giant_blocks.h"

#include <algorithm>
#include <cerrno>
#include <new>
#include <optional>
#include <utility>

#include "base/try.h"

namespace xzfs {
namespace {

constexpr uint64_t kNowhere = SeekableDecoder::kNowhere;

// How far before its slice a decoder may stand to be used for decode-ahead, or to be said to go on
// in order: those slices are wanted soon anyway.
constexpr uint64_t kReach = 8;

// What a new decoder costs, in slices, beside decoding from the Block's start: fresh memory, which
// the Block keeps. So a decoder that no reader needs where it stands is used first.
constexpr uint64_t kNewDecoderCost = 2;

// After this many changes around it, a reader that waits for memory starts all the same.
constexpr int kMostWaits = 16;

// Decoders of all Blocks. Each costs about 100 KiB even without memory.
constexpr uint64_t kMostDecoders = 64;
// What a decoder takes without memory, beside what its points hold.
constexpr uint64_t kLeastBytes = uint64_t{64} << 10;

// A decoder that wasn't used while this many runs ended is taken for abandoned.
constexpr uint64_t kStaleRuns = 256;

// Running on costs the reader that does it about 10 ms a slice.
constexpr uint64_t kMostRunOn = 16;

}  // namespace

Result<UnitPtr> GiantBlocks::Load(const Request& request) {
  Run run;
  UnitPtr delivered;
  Outcome outcome = StartRun(request, 0, run, delivered);
  if (outcome == Outcome::kTellBytes) {
    auto bytes = BlockDecoderMemory(request.stored, request.loaded.index(), request.block);
    if (!bytes) {
      return Failure(damage_.Add(request.loaded.id(), request.loaded.name(), request.block, 0,
                                 std::move(bytes.error())));
    }
    outcome = StartRun(request, *bytes + kLeastBytes, run, delivered);
  }
  if (outcome == Outcome::kDelivered) {
    return delivered;
  }
  if (outcome == Outcome::kNotAhead) {
    return Fail(EAGAIN, "no free decoder stands just before the slice");
  }
  Result<UnitPtr> unit = nullptr;
  try {
    unit = Execute(request, run);
  } catch (const std::bad_alloc&) {
    // The run must end, or the readers that wait for it would hang.
    unit = Fail(ENOMEM, "out of memory while decoding: lower cache_size");
  }
  run.good = run.good && unit.has_value();
  EndRun(request, run);
  return unit;
}

// `new_decoder_bytes`: what a new decoder would need; 0 if that isn't known yet.
GiantBlocks::Outcome GiantBlocks::StartRun(const Request& request, uint64_t new_decoder_bytes,
                                           Run& run, UnitPtr& unit) {
  Dropped dropped;
  MutexLock lock(mutex_);
  for (int waits = 0;;) {
    const Choice choice = Choose(request);
    if (request.effort == Effort::kAhead && (choice.wait || choice.decoder == nullptr)) {
      return Outcome::kNotAhead;
    }
    if (choice.wait) {
      unit = WaitFor(*choice.decoder, request.slice);
      if (unit != nullptr) {
        return Outcome::kDelivered;
      }
      continue;
    }
    if (choice.decoder == nullptr && new_decoder_bytes == 0) {
      return Outcome::kTellBytes;
    }
    const bool has_memory = choice.decoder != nullptr && choice.decoder->has_memory;
    const uint64_t bytes = choice.decoder != nullptr ? choice.decoder->bytes : new_decoder_bytes;
    if (!has_memory && !MakeRoom(bytes, waits, run)) {
      continue;
    }
    if (choice.decoder == nullptr && decoder_count_ >= kMostDecoders) {
      const auto [key, oldest] =
          OldestIdle([](const BlockKey&, const SeekableDecoder&) { return true; });
      if (oldest != nullptr) {
        DropDecoder(key, *oldest, dropped);
      }
    }
    TakeDecoder(request, choice.decoder, bytes, run);
    return Outcome::kStarted;
  }
}

GiantBlocks::Choice GiantBlocks::Choose(const Request& request) {
  const auto found = blocks_.find(KeyOf(request));
  if (found == blocks_.end()) {
    return {};
  }
  GiantBlock& block = found->second;
  if (request.effort == Effort::kAhead) {
    return ChooseAhead(block, request.slice);
  }
  Choice free;  // a new decoder, unless a better one is found
  // Without points, a reader that loses its decoder has to begin again.
  const uint64_t most_decoders =
      block.spacing.dense == RestartSpacing::kNone ? kMostDecoders : limits_.decoders;
  uint64_t free_cost =
      block.decoders.size() < most_decoders ? request.slice + kNewDecoderCost : kNowhere;
  Choice wait{nullptr, true};
  uint64_t wait_cost = kNowhere;
  for (SeekableDecoder& decoder : block.decoders) {
    const uint64_t cost = decoder.CostFor(request.slice, request.reader);
    if (decoder.busy && cost < wait_cost) {
      wait_cost = cost;
      wait.decoder = &decoder;
    } else if (!decoder.busy && cost < free_cost) {
      free_cost = cost;
      free.decoder = &decoder;
    }
  }
  if (wait_cost > free_cost) {
    return free;
  }
  if (!wait.decoder->WillStandBefore(request.slice)) {
    if (block.waited >= free_cost) {
      block.waited = 0;
      return free;
    }
    block.waited += wait_cost;
  }
  return wait;
}

// The idle decoder that stands just before the slice. If one at work gets there, the slice will be
// decoded in time without us.
GiantBlocks::Choice GiantBlocks::ChooseAhead(GiantBlock& block, uint64_t slice) {
  Choice best;
  for (SeekableDecoder& decoder : block.decoders) {
    if (decoder.slice > slice || decoder.slice + kReach < slice) {
      continue;
    }
    if (decoder.busy) {
      return {&decoder, true};
    }
    if (best.decoder == nullptr || decoder.slice > best.decoder->slice) {
      best.decoder = &decoder;
    }
  }
  return best;
}

UnitPtr GiantBlocks::WaitFor(SeekableDecoder& decoder, uint64_t slice) {
  SeekableDecoder::Waiter waiter;
  decoder.waiters.emplace(slice, &waiter);
  while (!waiter.over) {
    changed_.Wait(mutex_);
  }
  return waiter.unit;
}

void GiantBlocks::TakeDecoder(const Request& request, SeekableDecoder* decoder, uint64_t bytes,
                              Run& run) {
  if (decoder == nullptr) {
    decoder = &blocks_[KeyOf(request)].decoders.emplace_back();
    decoder->bytes = bytes;
    ++decoder_count_;
  }
  run.decoder = decoder;
  run.start = decoder->StartFor(request.slice, decoder->slice);
  run.slice = run.start.slice;
  // The requests of one pass come in a somewhat different order.
  run.in_order =
      request.slice - run.slice <= kReach && run.start.kind != SeekableDecoder::Start::Kind::kPoint;
  const bool goes_on = run.in_order && run.start.kind == SeekableDecoder::Start::Kind::kHere;
  if (!goes_on && decoder->IsReadOnBy() != request.reader) {
    run.left = {decoder->IsReadOnBy(), decoder->slice};
  }
  if (run.start.kind == SeekableDecoder::Start::Kind::kPlace &&
      run.start.reader == request.reader) {
    decoder->places.erase(request.reader);  // the run holds it
  }
  run.takes_memory = !decoder->has_memory;
  if (run.takes_memory) {
    decoder->has_memory = true;
    decoder_bytes_ += decoder->bytes;
  }
  decoder->busy = true;
  decoder->slice = run.slice;
  decoder->goal = request.slice;
}

// Makes room for the memory of one more decoder, `bytes`. Returns false if the lock was released
// and everything must be looked at again.
bool GiantBlocks::MakeRoom(uint64_t bytes, int& waits, Run& run) {
  const uint64_t limit = cache_.budget().total() / 4 * 3;
  if (decoder_bytes_ == 0 || decoder_bytes_ + store_.memory_bytes() + bytes <= limit) {
    return true;
  }
  const auto [key, oldest] = OldestIdle(
      [](const BlockKey&, const SeekableDecoder& decoder) { return decoder.has_memory; });
  if (oldest != nullptr) {
    run.lost_place = !FreeMemory(key, *oldest) || run.lost_place;
    return false;
  }
  if (waits == kMostWaits) {
    return true;
  }
  ++waits;
  changed_.Wait(mutex_);
  return false;
}

bool GiantBlocks::FreeMemory(const BlockKey& key, SeekableDecoder& decoder) {
  const uint64_t reader = decoder.IsReadOnBy();
  const uint64_t slice = std::exchange(decoder.slice, kNowhere);
  decoder.busy = true;
  decoder.goal = 0;
  Dropped dropped;
  mutex_.Unlock();
  RestartPointPtr place = reader != 0 ? SavePlace(key, decoder) : nullptr;
  decoder.block_decoder->FreeMemory();
  MemoryCharge charge = cache_.budget().Reserve(kLeastBytes);
  mutex_.Lock();
  if (place != nullptr) {
    decoder.SetPlace(reader, slice, std::move(place), dropped.points);
  }
  decoder.in_order = false;
  decoder.has_memory = false;
  decoder_bytes_ -= decoder.bytes;
  decoder.charge = std::move(charge);
  EndWork(decoder);
  const bool lost = decoder.reader != 0 && slice != kNowhere && !decoder.HasPoints();
  if (!decoder.HasPoints()) {
    DropDecoder(key, decoder, dropped);
  }
  mutex_.Unlock();
  dropped = Dropped();
  mutex_.Lock();
  return !lost;
}

void GiantBlocks::EndWork(SeekableDecoder& decoder) {
  for (auto& [slice, waiter] : decoder.waiters) {
    waiter->over = true;
  }
  decoder.waiters.clear();
  decoder.busy = false;
  changed_.NotifyAll();
}

void GiantBlocks::DropDecoder(const BlockKey& key, SeekableDecoder& decoder, Dropped& dropped) {
  const auto block = blocks_.find(key);
  DecoderList& decoders = block->second.decoders;
  const auto it =
      std::find_if(decoders.begin(), decoders.end(),
                   [&decoder](const SeekableDecoder& other) { return &other == &decoder; });
  if (decoder.has_memory) {
    decoder_bytes_ -= decoder.bytes;
  }
  --decoder_count_;
  dropped.decoders.splice(dropped.decoders.end(), decoders, it);
  if (decoders.empty()) {
    blocks_.erase(block);
  }
}

// The idle decoder that wasn't used for longest, of those that `may` agrees to; or null.
template <class Predicate>
std::pair<GiantBlocks::BlockKey, SeekableDecoder*> GiantBlocks::OldestIdle(const Predicate& may) {
  std::pair<BlockKey, SeekableDecoder*> oldest{};
  for (auto& [key, block] : blocks_) {
    for (SeekableDecoder& decoder : block.decoders) {
      if (!decoder.busy && may(key, decoder) &&
          (oldest.second == nullptr || decoder.used_at < oldest.second->used_at)) {
        oldest = {key, &decoder};
      }
    }
  }
  return oldest;
}

Result<UnitPtr> GiantBlocks::Execute(const Request& request, Run& run) {
  if (Status begun = Begin(request, run); !begun) {
    return Failure(damage_.Add(request.loaded.id(), request.loaded.name(), request.block, 0,
                               std::move(begun.error())));
  }
  auto unit = Decode(request, run);
  if (unit && run.lost_place && request.effort == Effort::kReader) {
    RunOn(request, run);
  }
  return unit;
}

Status GiantBlocks::Begin(const Request& request, Run& run) {
  using Kind = SeekableDecoder::Start::Kind;
  SeekableDecoder& decoder = *run.decoder;
  if (run.takes_memory) {
    decoder.charge = cache_.budget().Reserve(decoder.bytes);
  }
  if (run.left.reader != 0) {
    KeepPlace(request, run);
  }
  while (run.start.point != nullptr) {
    if (store_.Restore(*run.start.point, *decoder.block_decoder)) {
      stats_.giant_restores.Add();
      run.start.point.reset();
      return {};
    }
    ForgetStart(request, run);
  }
  if (run.start.kind == Kind::kHere) {
    return {};
  }
  stats_.giant_restarts.Add();
  if (decoder.beginning.coder.empty()) {
    return Open(request, decoder);
  }
  decoder.block_decoder->Restore(decoder.beginning);
  return {};
}

Status GiantBlocks::Open(const Request& request, SeekableDecoder& decoder) {
  decoder.block_decoder.reset();
  XZFS_ASSIGN_OR_RETURN(decoder.block_decoder,
                        BlockDecoder::Open(request.stored, request.loaded.index(), request.block,
                                           limits_.decoder_bytes, /*arena=*/nullptr,
                                           damage_.ChoiceFor(request.loaded.id(), request.block)));
  const size_t dictionary_bytes = decoder.block_decoder->most_history_bytes();
  if (dictionary_bytes != 0) {
    decoder.beginning = decoder.block_decoder->Mark();
  }
  MutexLock lock(mutex_);
  GiantBlock& block = blocks_.find(KeyOf(request))->second;
  if (block.spacing.dense == 0) {
    block.spacing =
        RestartSpacing::For(request.block.plain_size, dictionary_bytes, store_.capacity_bytes());
  }
  return {};
}

void GiantBlocks::ForgetStart(const Request& request, Run& run) {
  SeekableDecoder& decoder = *run.decoder;
  std::vector<RestartPointPtr> dropped;
  dropped.push_back(std::move(run.start.point));
  MutexLock lock(mutex_);
  decoder.Forget(run.start);
  run.start = decoder.StartFor(request.slice, kNowhere);
  run.slice = run.start.slice;
  run.in_order = false;
  decoder.slice = run.slice;
}

RestartPointPtr GiantBlocks::SavePoint(SeekableDecoder& decoder, RestartStore::Place place) {
  if (decoder.block_decoder->most_history_bytes() == 0) {
    return nullptr;
  }
  RestartPointPtr point = store_.Save(*decoder.block_decoder, place);
  if (point != nullptr) {
    stats_.giant_points.Add();
  }
  return point;
}

// Saves a point; others may be dropped to make room for it.
RestartPointPtr GiantBlocks::SavePlace(const BlockKey& key, SeekableDecoder& decoder) {
  RestartPointPtr place = SavePoint(decoder, RestartStore::Place::kAnywhere);
  if (place == nullptr) {
    MakeRoomForPoints(key);
    place = SavePoint(decoder, RestartStore::Place::kAnywhere);
  }
  return place;
}

void GiantBlocks::KeepPlace(const Request& request, const Run& run) {
  SeekableDecoder& decoder = *run.decoder;
  RestartPointPtr place = SavePlace(KeyOf(request), decoder);
  if (place == nullptr) {
    return;
  }
  std::vector<RestartPointPtr> dropped;
  MutexLock lock(mutex_);
  decoder.SetPlace(run.left.reader, run.left.slice, std::move(place), dropped);
}

// Decodes up to the slice that was asked for.
Result<UnitPtr> GiantBlocks::Decode(const Request& request, Run& run) {
  const BlockInfo& block = request.block;
  std::shared_ptr<Unit> unit;
  for (;;) {
    MaybeSavePoint(request, run);
    const uint64_t slice = run.slice;
    XZFS_RETURN_IF_ERROR(DecodeNext(request, run, unit));
    if (slice == request.slice) {
      Deliver(*run.decoder, slice, unit);
      return unit;
    }
    const bool keep = slice + KeepSlices() >= request.slice;
    if (keep) {
      cache_.Insert({request.loaded.id(), block.plain_offset + slice * kSliceBytes}, unit);
    }
    if (Deliver(*run.decoder, slice, unit) || keep) {
      unit = nullptr;  // it is shared now: decode the next slice elsewhere
    }
  }
}

// Decodes the next slice into `unit`, a new one if it is null or of another size.
Status GiantBlocks::DecodeNext(const Request& request, Run& run, std::shared_ptr<Unit>& unit) {
  const BlockInfo& block = request.block;
  const uint64_t offset = run.slice * kSliceBytes;
  const uint64_t size = std::min(kSliceBytes, block.plain_size - offset);
  if (unit == nullptr || unit->bytes().size() != size) {
    unit = cache_.NewUnit(size);
  }
  std::optional<Turns::Hold> turn;
  if (request.effort == Effort::kReader) {
    turn.emplace(turns_, Turns::Priority::kHigh);
  }
  BlockDecoder& decoder = *run.decoder->block_decoder;
  const auto pause = [&turn] { return turn ? turn->Yield() : void(); };
  Status status = decoder.Decode(request.stored, unit->mutable_bytes(), pause);
  turn.reset();
  const DecoderVerdict verdict = decoder.TakeVerdict();
  run.is_ours_wrong = verdict == DecoderVerdict::kRescued || verdict == DecoderVerdict::kWrong;
  damage_.AddVerdict(request.loaded.id(), request.loaded.name(), block, verdict);
  if (!status) {
    // At the Block's end it is the Check that failed: nothing of the Block is to be trusted.
    const bool at_end = offset + size == block.plain_size;
    return Failure(damage_.Add(request.loaded.id(), request.loaded.name(), block,
                               at_end ? 0 : offset, std::move(status.error())));
  }
  stats_.decoded_bytes.Add(size);
  ++run.slice;
  return {};
}

// Saves a point where the run's decoder stands if it's time for one.
void GiantBlocks::MaybeSavePoint(const Request& request, const Run& run) {
  SeekableDecoder& decoder = *run.decoder;
  const bool ordered = run.in_order;
  uint64_t spacing = 0;
  uint64_t before = 0;
  {
    MutexLock lock(mutex_);
    const GiantBlock& block = blocks_.find(KeyOf(request))->second;
    spacing = block.spacing.Of(ordered);
    before = decoder.PointBefore(run.slice);
  }
  if (run.slice - before < spacing) {
    return;
  }
  RestartPointPtr point =
      SavePoint(decoder, ordered ? RestartStore::Place::kMemory : RestartStore::Place::kAnywhere);
  if (point != nullptr) {
    MutexLock lock(mutex_);
    decoder.points.emplace(run.slice, std::move(point));
  } else if (!ordered) {
    MakeRoomForPoints(KeyOf(request));
  }
}

void GiantBlocks::MakeRoomForPoints(const BlockKey& key) {
  Dropped dropped;
  MutexLock lock(mutex_);
  const auto [stale_key, stale] =
      OldestIdle([&](const BlockKey& other, const SeekableDecoder& decoder) REQUIRES(mutex_) {
        return other != key && decoder.used_at + kStaleRuns < runs_;
      });
  if (stale != nullptr) {
    DropDecoder(stale_key, *stale, dropped);
    return;
  }
  GiantBlock& block = blocks_.find(key)->second;
  for (SeekableDecoder& decoder : block.decoders) {
    decoder.ThinPoints(dropped.points);
  }
  if (!dropped.points.empty()) {
    block.spacing.Double();
  }
}

// A reader's place was lost for this run's decoder: gets some more slices out of it. A failure is
// left to the reader that asks for those bytes.
void GiantBlocks::RunOn(const Request& request, Run& run) {
  const BlockInfo& block = request.block;
  const uint64_t most = std::min(kMostRunOn, KeepSlices());
  for (uint64_t i = 0; i < most && run.slice * kSliceBytes < block.plain_size; ++i) {
    const uint64_t slice = run.slice;
    std::shared_ptr<Unit> unit;
    if (!DecodeNext(request, run, unit)) {
      run.good = false;
      return;
    }
    Deliver(*run.decoder, slice, unit);
    const UnitKey key{request.loaded.id(), block.plain_offset + slice * kSliceBytes};
    if (!cache_.InsertAhead(key, unit)) {
      return;
    }
  }
}

// Gives `unit` to those that wait and moves the decoder on. Returns whether there were any.
bool GiantBlocks::Deliver(SeekableDecoder& decoder, uint64_t slice, const UnitPtr& unit) {
  MutexLock lock(mutex_);
  const auto [first, last] = decoder.waiters.equal_range(slice);
  const bool taken = first != last;
  for (auto it = first; it != last; ++it) {
    it->second->unit = unit;
    it->second->over = true;
  }
  decoder.waiters.erase(first, last);
  decoder.slice = slice + 1;
  if (taken) {
    changed_.NotifyAll();
  }
  return taken;
}

void GiantBlocks::EndRun(const Request& request, const Run& run) {
  SeekableDecoder& decoder = *run.decoder;
  const bool at_end = run.slice * kSliceBytes >= request.block.plain_size;
  Dropped dropped;
  MutexLock lock(mutex_);
  decoder.slice = run.good && !at_end ? run.slice : kNowhere;
  if (request.effort == Effort::kReader) {  // decode-ahead may outlive its reader
    decoder.reader = request.reader;
  }
  decoder.in_order = run.in_order;
  decoder.used_at = ++runs_;
  EndWork(decoder);
  if (run.is_ours_wrong || (decoder.slice == kNowhere && !decoder.HasPoints())) {
    DropDecoder(KeyOf(request), decoder, dropped);
  }
}

void GiantBlocks::ForgetReader(uint64_t reader) {
  Dropped dropped;
  MutexLock lock(mutex_);
  std::vector<std::pair<BlockKey, SeekableDecoder*>> of_no_use;
  for (auto& [key, block] : blocks_) {
    for (SeekableDecoder& decoder : block.decoders) {
      decoder.ForgetReader(reader, dropped.points);
      if (!decoder.busy && decoder.slice == kNowhere && !decoder.HasPoints()) {
        of_no_use.emplace_back(key, &decoder);
      }
    }
  }
  for (const auto& [key, decoder] : of_no_use) {
    DropDecoder(key, *decoder, dropped);
  }
}

}  // namespace xzfs
