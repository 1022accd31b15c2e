// A giant Block can only be decoded from its start, so what counts is not to begin again.
//
// A decoder that has given its slice is parked where it stands and goes on from there for the next
// request. A request for slice s takes the parked decoder that stands nearest before s: one that
// its own reader used last, or one that nobody uses, or one so near that its reader will be glad of
// the slices between. Another reader's decoder further away is left to that reader, if there is
// memory for one more: one stray read must not cost a sequential reader its place. If a decoder at
// work stands nearer before s than any parked one, it is waited for: it either passes s and hands
// the slice over, or ends and can be taken. Only when there is none does a new decoder start at the
// Block's start.
//
// A decoder that has to pass over slices to reach its goal leaves the last of them in the cache, an
// eighth of the budget: reading backwards then restarts once per eighth instead of once per slice.
//
// Memory: decoders, at work and parked, may take three quarters of the budget (units keep a
// quarter). Parking beyond that may only drop decoders that nobody uses. A reader whose decoder
// can't be parked lets it run on for a few slices, kept as decoded ahead, so that what it costs to
// come here again is shared by all of them; dropping another reader's instead would only make both
// start again in turns. A reader who has to start a decoder that would take those at work over half
// of the budget waits for others to end, but not for ever.
//
// Invariants, under mutex_: a cursor is either parked, or belongs to exactly one run on one
// thread's stack; a Want is in the map of exactly one live run until it is over; a run never waits
// for another run, so waiting ends.
#include "cache/slice_decoder.h"

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <new>
#include <utility>

namespace xzfs {
namespace {

// How far before its slice a decoder may stand to be taken from another reader, or to be used for
// decode-ahead: those slices are wanted soon anyway.
constexpr uint64_t kReach = 8;

// What one reader leaves behind in jumping about. More would only fill memory.
constexpr size_t kParkedPerReader = 4;

// After so many changes around it a reader who waits for memory starts all the same.
constexpr int kMostWaits = 16;

// A parked decoder that wasn't used while so many others were is taken for abandoned.
constexpr uint64_t kStaleRuns = 256;

// Running on costs the reader who does it about 10 ms a slice.
constexpr uint64_t kMostRunOn = 16;

}  // namespace

Result<UnitPtr> SliceDecoder::Load(const Request& request) {
  Claim claim;
  UnitPtr handed_over;
  Outcome outcome = ClaimDecoder(request, 0, claim, handed_over);
  if (outcome == Outcome::kTellBytes) {
    auto bytes = BlockDecoderMemory(request.stored, request.file.index(), request.block);
    if (!bytes) {
      return tl::unexpected(damage_.Add(request.file.id(), request.file.name(), request.block, 0,
                                        std::move(bytes.error())));
    }
    outcome = ClaimDecoder(request, *bytes, claim, handed_over);
  }
  if (outcome == Outcome::kHandedOver) {
    return handed_over;
  }
  if (outcome == Outcome::kNotAhead) {
    return Fail(EAGAIN, "no decoder stands near the slice");
  }
  Result<UnitPtr> unit = nullptr;
  try {
    unit = Drive(request, claim);
  } catch (const std::bad_alloc&) {
    // The run must end, or those who wait for it would hang.
    unit = Fail(ENOMEM, "out of memory while decoding: lower cache_size");
  }
  const bool park = unit.has_value() && claim.cursor.decoder != nullptr &&
                    claim.cursor.decoder->position() < request.block.plain_size;
  EndRun(request, std::move(claim), park);
  return unit;
}

// `restart_bytes`: what a new decoder would need; 0 if that isn't known yet.
SliceDecoder::Outcome SliceDecoder::ClaimDecoder(const Request& request, uint64_t restart_bytes,
                                                 Claim& claim, UnitPtr& unit) {
  const BlockKey key = KeyOf(request);
  const bool ahead = request.effort == Effort::kAhead;
  MutexLock lock(mutex_);
  for (int waits = 0;;) {
    const auto runs = runs_.find(key);
    const auto parked = BestParked(request, restart_bytes != 0 && !Affordable(restart_bytes));
    const bool has_parked = parked != parked_.end();
    if (runs != runs_.end()) {
      const auto run = BestRun(runs->second, request.slice);
      if (run != runs->second.end() && (!has_parked || run->slice >= parked->cursor.slice)) {
        if (ahead) {
          return Outcome::kNotAhead;
        }
        unit = WaitForRun(*run, request.slice);
        if (unit != nullptr) {
          return Outcome::kHandedOver;
        }
        continue;
      }
    }
    if (ahead && !(has_parked && parked->cursor.slice + kReach >= request.slice)) {
      return Outcome::kNotAhead;
    }
    if (!has_parked && restart_bytes == 0) {
      return Outcome::kTellBytes;
    }
    if (!has_parked && running_bytes_ != 0 && waits < kMostWaits &&
        running_bytes_ + restart_bytes > cache_.budget().total() / 2) {
      ++waits;
      changed_.Wait(mutex_);
      continue;
    }
    RunList& list = runs_[key];
    claim.run = list.insert(list.end(), Run{has_parked ? parked->cursor.slice : 0, {}});
    claim.bytes = restart_bytes;
    if (has_parked) {
      ParkedList taken;
      Unpark(parked, taken);
      claim.cursor = std::move(taken.front().cursor);
      claim.bytes = claim.cursor.charge.bytes();
    }
    running_bytes_ += claim.bytes;
    return Outcome::kClaimed;
  }
}

// There is memory for a decoder of `bytes` beside all others.
bool SliceDecoder::Affordable(uint64_t bytes) {
  return running_bytes_ + parked_bytes_ + bytes <= cache_.budget().total() / 4 * 3;
}

UnitPtr SliceDecoder::WaitForRun(Run& run, uint64_t slice) {
  Want want;
  run.wants.emplace(slice, &want);
  while (!want.over) {
    changed_.Wait(mutex_);
  }
  return want.unit;
}

// The run nearest before `slice`, or the end.
SliceDecoder::RunList::iterator SliceDecoder::BestRun(RunList& runs, uint64_t slice) {
  auto best = runs.end();
  for (auto it = runs.begin(); it != runs.end(); ++it) {
    if (it->slice <= slice && (best == runs.end() || it->slice > best->slice)) {
      best = it;
    }
  }
  return best;
}

// The parked decoder to go on with, or the end. `take_foreign`: also from a reader who may want it.
SliceDecoder::ParkedList::iterator SliceDecoder::BestParked(const Request& request,
                                                            bool take_foreign) {
  const BlockKey key = KeyOf(request);
  auto best = parked_.end();
  for (auto it = parked_.begin(); it != parked_.end(); ++it) {
    const uint64_t at = it->cursor.slice;
    if (it->key != key || at > request.slice ||
        (best != parked_.end() && at <= best->cursor.slice)) {
      continue;
    }
    if (it->reader == 0 || it->reader == request.reader || at + kReach >= request.slice ||
        take_foreign) {
      best = it;
    }
  }
  return best;
}

Result<UnitPtr> SliceDecoder::Drive(const Request& request, Claim& claim) {
  if (claim.cursor.decoder == nullptr) {
    if (auto started = Restart(request, claim); !started) {
      return tl::unexpected(damage_.Add(request.file.id(), request.file.name(), request.block, 0,
                                        std::move(started.error())));
    }
  }
  auto unit = Decode(request, claim);
  if (unit && request.effort == Effort::kReader && !CanPark(claim, request.reader)) {
    RunOn(request, claim);
  }
  return unit;
}

Status SliceDecoder::Restart(const Request& request, Claim& claim) {
  claim.cursor.charge = cache_.Reserve(claim.bytes);
  XZFS_ASSIGN_OR_RETURN(
      claim.cursor.decoder,
      BlockDecoder::Open(request.stored, request.file.index(), request.block, decoder_limit_));
  stats_.giant_restarts.Add();
  return {};
}

// Decodes up to the slice that was asked for.
Result<UnitPtr> SliceDecoder::Decode(const Request& request, Claim& claim) {
  const BlockInfo& block = request.block;
  std::shared_ptr<Unit> unit;
  for (;;) {
    const uint64_t slice = claim.cursor.slice;
    XZFS_RETURN_IF_ERROR(DecodeNext(request, claim, unit));
    if (slice == request.slice) {
      HandOver(*claim.run, slice, unit);
      return unit;
    }
    const bool keep = slice + KeepSlices() >= request.slice;
    if (keep) {
      cache_.Insert({request.file.id(), block.plain_offset + slice * kSliceBytes}, unit);
    }
    if (HandOver(*claim.run, slice, unit) || keep) {
      unit = nullptr;  // it is shared now: decode the next slice elsewhere
    }
  }
}

// Decodes the next slice into `unit`, a new one if it is null or of another size.
Status SliceDecoder::DecodeNext(const Request& request, Claim& claim, std::shared_ptr<Unit>& unit) {
  const BlockInfo& block = request.block;
  const uint64_t offset = claim.cursor.slice * kSliceBytes;
  const uint64_t size = std::min(kSliceBytes, block.plain_size - offset);
  if (unit == nullptr || unit->bytes().size() != size) {
    unit = cache_.NewUnit(size);
  }
  std::optional<DecodeSlots::Hold> slot;
  if (request.effort == Effort::kReader) {
    slot.emplace(slots_, DecodeSlots::Priority::kReader);
  }
  Status status = claim.cursor.decoder->Decode(request.stored, unit->mutable_bytes());
  slot.reset();
  if (!status) {
    // At the Block's end it is the Check that failed: nothing of the Block is to be trusted.
    const bool at_end = offset + size == block.plain_size;
    return tl::unexpected(damage_.Add(request.file.id(), request.file.name(), block,
                                      at_end ? 0 : offset, std::move(status.error())));
  }
  stats_.decoded_bytes.Add(size);
  ++claim.cursor.slice;
  return {};
}

// The decoder won't be kept: gets some more slices out of it. Failures are left to who asks for
// those bytes.
void SliceDecoder::RunOn(const Request& request, Claim& claim) {
  const BlockInfo& block = request.block;
  const uint64_t most = std::min(kMostRunOn, KeepSlices());
  for (uint64_t i = 0; i < most && claim.cursor.slice * kSliceBytes < block.plain_size; ++i) {
    const uint64_t slice = claim.cursor.slice;
    std::shared_ptr<Unit> unit;
    if (!DecodeNext(request, claim, unit)) {
      claim.cursor.decoder.reset();  // of no further use
      return;
    }
    HandOver(*claim.run, slice, unit);
    const UnitKey key{request.file.id(), block.plain_offset + slice * kSliceBytes};
    if (!cache_.InsertAhead(key, unit)) {
      return;
    }
  }
}

// Gives `unit` to those who want it and moves the run on. Returns whether anybody took it.
bool SliceDecoder::HandOver(Run& run, uint64_t slice, const UnitPtr& unit) {
  MutexLock lock(mutex_);
  const auto [first, last] = run.wants.equal_range(slice);
  const bool taken = first != last;
  for (auto it = first; it != last; ++it) {
    it->second->unit = unit;
    it->second->over = true;
  }
  run.wants.erase(first, last);
  run.slice = slice + 1;
  if (taken) {
    changed_.NotifyAll();
  }
  return taken;
}

// Nobody will miss it, or only `reader` would.
bool SliceDecoder::IsDroppable(const Parked& parked, uint64_t reader) {
  return parked.reader == 0 || parked.reader == reader ||
         runs_ended_ - parked.parked_at > kStaleRuns;
}

// The claim's decoder can be kept without dropping one that another reader uses.
bool SliceDecoder::CanPark(const Claim& claim, uint64_t reader) {
  MutexLock lock(mutex_);
  uint64_t others = running_bytes_ - claim.bytes;
  for (const Parked& parked : parked_) {
    others += IsDroppable(parked, reader) ? 0 : parked.cursor.charge.bytes();
  }
  return others == 0 || others + claim.bytes <= cache_.budget().total() / 4 * 3;
}

void SliceDecoder::EndRun(const Request& request, Claim claim, bool park) {
  const BlockKey key = KeyOf(request);
  ParkedList ended;
  ended.push_front(Parked{key, request.reader, 0, std::move(claim.cursor)});
  ParkedList dropped;  // decoders are freed after the lock is released
  MutexLock lock(mutex_);
  for (auto& [slice, want] : claim.run->wants) {
    want->over = true;
  }
  const auto runs = runs_.find(key);
  runs->second.erase(claim.run);
  if (runs->second.empty()) {
    runs_.erase(runs);
  }
  running_bytes_ -= claim.bytes;
  ++runs_ended_;
  if (park) {
    Park(ended, dropped);
  }
  changed_.NotifyAll();
}

void SliceDecoder::Unpark(ParkedList::iterator parked, ParkedList& to) {
  parked_bytes_ -= parked->cursor.charge.bytes();
  to.splice(to.end(), parked_, parked);
}

// Parks the one decoder of `ended` if there is room for it or room can be made.
void SliceDecoder::Park(ParkedList& ended, ParkedList& dropped) {
  Parked& parked = ended.front();
  const uint64_t bytes = parked.cursor.charge.bytes();
  auto oldest = parked_.end();
  size_t of_reader = 0;
  for (auto it = parked_.begin(); it != parked_.end(); ++it) {
    if (it->reader == parked.reader) {
      oldest = it;
      ++of_reader;
    }
  }
  if (of_reader == kParkedPerReader) {
    Unpark(oldest, dropped);
  }
  while (!Affordable(bytes) && running_bytes_ + parked_bytes_ != 0) {
    auto victim = parked_.end();
    for (auto it = parked_.begin(); it != parked_.end(); ++it) {
      if (IsDroppable(*it, parked.reader) &&
          (victim == parked_.end() || it->cursor.slice < victim->cursor.slice)) {
        victim = it;
      }
    }
    if (victim == parked_.end()) {
      return;
    }
    Unpark(victim, dropped);
  }
  parked.parked_at = runs_ended_;
  parked_bytes_ += bytes;
  parked_.splice(parked_.begin(), ended);
}

void SliceDecoder::Disown(uint64_t reader) {
  MutexLock lock(mutex_);
  for (Parked& parked : parked_) {
    if (parked.reader == reader) {
      parked.reader = 0;
    }
  }
}

}  // namespace xzfs
