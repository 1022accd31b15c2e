// A giant Block can only be decoded from its start, so what counts is not to begin again.
//
// A decoder that has given its slice is parked where it stands and goes on from there for the next
// reader. A reader of slice s takes the parked decoder that stands nearest before s. If another
// reader's decoder is at work nearer before s, it is waited for: it either passes s and hands the
// slice over, or ends and can be taken. Only when neither exists does a new decoder start at the
// Block's start.
//
// A decoder that has to pass over slices to reach its goal leaves the last of them in the cache, a
// quarter of the budget at most: reading backwards then restarts once per quarter instead of once
// per slice.
//
// Memory: parked decoders hold at most a quarter of the budget (the least recently used one goes
// first, the one parked last always stays; a Block keeps at most kParkedPerBlock). Decoders at work
// may hold half of it; a reader who would exceed that by starting another one waits until one ends,
// unless it is the only one.
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

// Enough for the few readers that one file has at a time.
constexpr size_t kParkedPerBlock = 4;
// How far before its slice a decoder may stand for decode-ahead: what the reader of the slices
// between will ask for anyway.
constexpr uint64_t kAheadReach = 8;

}  // namespace

Result<UnitPtr> SliceDecoder::Load(const XzFile& file, const RandomAccessFile& stored,
                                   const BlockInfo& block, uint64_t slice, Effort effort) {
  const Request request{file, stored, block, slice, effort};
  auto restart_bytes = BlockDecoderMemory(stored, file.index(), block);
  if (!restart_bytes) {
    return tl::unexpected(file.NoteDamage(block, 0, restart_bytes.error()));
  }
  Claim claim;
  if (auto result = ClaimDecoder(request, *restart_bytes, claim)) {
    return *result;
  }
  Result<UnitPtr> unit = nullptr;
  try {
    unit = Drive(request, claim);
  } catch (const std::bad_alloc&) {
    // The run must end, or those who wait for it would hang.
    unit = Fail(ENOMEM, "out of memory while decoding: lower cache_size");
  }
  const bool park = unit.has_value() && claim.cursor.decoder->position() < block.plain_size;
  EndRun(request, std::move(claim), park);
  return unit;
}

Result<UnitPtr> SliceDecoder::Drive(const Request& request, Claim& claim) {
  if (claim.cursor.decoder == nullptr) {
    if (auto started = Restart(request, claim); !started) {
      return tl::unexpected(request.file.NoteDamage(request.block, 0, started.error()));
    }
  }
  return Decode(request, claim);
}

std::optional<Result<UnitPtr>> SliceDecoder::ClaimDecoder(const Request& request,
                                                          uint64_t restart_bytes, Claim& claim) {
  const BlockKey key = request.key();
  const bool ahead = request.effort == Effort::kAhead;
  MutexLock lock(mutex_);
  for (;;) {
    RunList& runs = runs_[key];
    const auto run = BestRun(runs, request.slice);
    const auto parked = BestParked(key, request.slice);
    const bool has_parked = parked != parked_.end();
    if (run != runs.end() && (!has_parked || run->slice >= parked->cursor.slice)) {
      if (ahead) {
        return Fail(EAGAIN, "the decoder is at work");
      }
      Want want;
      run->wants.emplace(request.slice, &want);
      while (!want.over) {
        changed_.Wait(mutex_);
      }
      if (want.unit != nullptr) {
        return want.unit;
      }
      continue;
    }
    const bool reachable = has_parked && parked->cursor.slice + kAheadReach >= request.slice;
    const bool no_room = !has_parked && running_bytes_ != 0 &&
                         running_bytes_ + restart_bytes > cache_.budget().total() / 2;
    if ((ahead && !reachable) || no_room) {
      if (runs.empty()) {
        runs_.erase(key);
      }
      if (ahead) {
        return Fail(EAGAIN, "no decoder stands near the slice");
      }
      changed_.Wait(mutex_);
      continue;
    }
    claim.bytes = restart_bytes;
    if (has_parked) {
      claim.cursor = std::move(parked->cursor);
      claim.bytes = claim.cursor.bytes;
      parked_bytes_ -= claim.bytes;
      parked_.erase(parked);
    }
    running_bytes_ += claim.bytes;
    claim.run = runs.insert(runs.end(), Run{claim.cursor.slice, {}});
    return std::nullopt;
  }
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

SliceDecoder::ParkedList::iterator SliceDecoder::BestParked(const BlockKey& key, uint64_t slice) {
  auto best = parked_.end();
  for (auto it = parked_.begin(); it != parked_.end(); ++it) {
    if (it->key == key && it->cursor.slice <= slice &&
        (best == parked_.end() || it->cursor.slice > best->cursor.slice)) {
      best = it;
    }
  }
  return best;
}

Status SliceDecoder::Restart(const Request& request, Claim& claim) {
  Cursor& cursor = claim.cursor;
  cursor.bytes = claim.bytes;
  cursor.charge = cache_.Reserve(std::min<size_t>(cursor.bytes, cache_.budget().total() / 4));
  XZFS_ASSIGN_OR_RETURN(cursor.decoder, BlockDecoder::Open(request.stored, request.file.index(),
                                                           request.block, decoder_limit_));
  stats_.giant_restarts.Add();
  return {};
}

Result<UnitPtr> SliceDecoder::Decode(const Request& request, Claim& claim) {
  const BlockInfo& block = request.block;
  const uint64_t keep_slices = cache_.budget().total() / 4 / kSliceBytes;
  Cursor& cursor = claim.cursor;
  std::shared_ptr<Unit> unit;
  for (;;) {
    const uint64_t slice = cursor.slice;
    const uint64_t offset = slice * kSliceBytes;
    const uint64_t size = std::min(kSliceBytes, block.plain_size - offset);
    if (unit == nullptr || unit->bytes().size() != size) {
      unit = cache_.NewUnit(size);
    }
    Status status;
    {
      DecodeSlots::Hold slot(slots_, request.effort == Effort::kReader
                                         ? DecodeSlots::Priority::kReader
                                         : DecodeSlots::Priority::kAhead);
      status = cursor.decoder->Decode(request.stored, unit->mutable_bytes());
    }
    if (!status) {
      // At the Block's end it is the Check that failed: nothing of the Block is to be trusted.
      const bool at_end = offset + size == block.plain_size;
      return tl::unexpected(request.file.NoteDamage(block, at_end ? 0 : offset, status.error()));
    }
    stats_.decoded_bytes.Add(size);
    ++cursor.slice;
    if (slice == request.slice) {
      HandOver(*claim.run, slice, unit);
      return unit;
    }
    const bool keep = slice + keep_slices >= request.slice;
    if (keep) {
      cache_.Insert({request.file.id(), block.plain_offset + offset}, unit);
    }
    if (HandOver(*claim.run, slice, unit) || keep) {
      unit = nullptr;  // it is shared now: decode the next slice elsewhere
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

void SliceDecoder::EndRun(const Request& request, Claim claim, bool park) {
  const BlockKey key = request.key();
  ParkedList dropped;  // decoders are freed after the lock is released
  MutexLock lock(mutex_);
  for (auto& [slice, want] : claim.run->wants) {
    want->over = true;
  }
  RunList& runs = runs_[key];
  runs.erase(claim.run);
  if (runs.empty()) {
    runs_.erase(key);
  }
  running_bytes_ -= claim.bytes;
  (park ? parked_ : dropped).push_front(Parked{key, std::move(claim.cursor)});
  if (park) {
    parked_bytes_ += parked_.front().cursor.bytes;
    TrimParked(key, dropped);
  }
  changed_.NotifyAll();
}

void SliceDecoder::TrimParked(const BlockKey& key, ParkedList& dropped) {
  const auto drop = [&](ParkedList::iterator it) REQUIRES(mutex_) {
    parked_bytes_ -= it->cursor.bytes;
    dropped.splice(dropped.end(), parked_, it);
  };
  auto oldest = parked_.end();
  size_t of_block = 0;
  for (auto it = parked_.begin(); it != parked_.end(); ++it) {
    if (it->key == key) {
      oldest = it;
      ++of_block;
    }
  }
  if (of_block > kParkedPerBlock) {
    drop(oldest);
  }
  // The one just parked stays whatever its size: its reader is most likely to come back.
  while (parked_bytes_ > cache_.budget().total() / 4 && parked_.size() > 1) {
    drop(std::prev(parked_.end()));
  }
}

void SliceDecoder::Forget(uint64_t file_id) {
  ParkedList dropped;
  MutexLock lock(mutex_);
  for (auto it = parked_.begin(); it != parked_.end();) {
    const auto next = std::next(it);
    if (it->key.file_id == file_id) {
      parked_bytes_ -= it->cursor.bytes;
      dropped.splice(dropped.end(), parked_, it);
    }
    it = next;
  }
}

}  // namespace xzfs
