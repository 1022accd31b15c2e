// A read is cut at unit borders. Each unit comes from the cache or is decoded right here, on the
// reader's own thread: nobody is faster than the one who is already awake, and a mount whose
// decode-ahead is busy or off still makes progress. The pool only works ahead of sequential
// readers.
#include "cache/xz_reader.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <new>
#include <utility>

#include "base/try.h"
#include "cache/block_load.h"

namespace xzfs {
namespace {

// With verify=stream: how much is decoded before those who wait are told, and before a reader who
// waits for a turn gets it. About 0.3 ms.
constexpr size_t kStreamStepBytes = size_t{32} << 10;

// Between two steps the turn is given up: a reader who waits for one goes first.
Status DecodeRest(ReadEngine& engine, BlockLoad& load, const UnitCache::FlightPtr& flight) try {
  while (load.ready_bytes() < load.size()) {
    const Turns::Hold turn(engine.turns, Turns::Priority::kLow);
    const size_t end = std::min(load.ready_bytes() + kStreamStepBytes, load.size());
    XZFS_RETURN_IF_ERROR(load.DecodeTo(end));
    if (end < load.size()) {
      engine.cache.Publish(flight, load.unit(), end);
    }
  }
  return {};
} catch (const std::bad_alloc&) {
  return Fail(ENOMEM, "out of memory while decoding: lower cache_size");
}

// The flight ends whatever happens, or those who joined it would hang. Returns whether all is well.
bool FinishBlock(ReadEngine& engine, BlockLoad& load, const UnitCache::FlightPtr& flight) {
  const Status status = DecodeRest(engine, load, flight);
  engine.cache.Finish(flight, status ? Result<UnitPtr>(load.unit()) : Failure(status.error()));
  return status.has_value();
}

// Returns false if the pool has enough to do. One Block may always be left.
bool LeaveToPool(ReadEngine& engine, uint64_t bytes, const std::function<void()>& finish) {
  const uint64_t before = engine.unfinished_bytes.fetch_add(bytes, std::memory_order_relaxed);
  if ((before == 0 || before + bytes <= engine.most_unfinished_bytes) &&
      engine.pool.TrySubmit([&engine, bytes, finish] {
        finish();
        engine.unfinished_bytes.fetch_sub(bytes, std::memory_order_relaxed);
      })) {
    return true;
  }
  engine.unfinished_bytes.fetch_sub(bytes, std::memory_order_relaxed);
  return false;
}

}  // namespace

XzReader::XzReader(ReadEngine& engine, Source source)
    : shared_(std::make_shared<Shared>(engine, std::move(source))) {}

XzReader::~XzReader() {
  shared_->generation.fetch_add(1, std::memory_order_relaxed);
  shared_->engine.giants.ForgetReader(shared_->reader);
  MutexLock lock(mutex_);
  if (shared_->source.file_id != 0 && HasAhead()) {
    shared_->engine.cache.ReleaseAhead(shared_->source.file_id);
  }
}

Result<size_t> XzReader::ReadAt(uint64_t offset, std::span<std::byte> out) const {
  size_t done = 0;
  return Visit(offset, out.size(), [&](const Piece& piece) {
    std::memcpy(out.data() + done, piece.bytes.data(), piece.bytes.size());
    done += piece.bytes.size();
  });
}

Result<std::optional<XzReader::Piece>> XzReader::Lend(uint64_t offset, size_t length) const {
  if (offset >= size() || length == 0) {
    return std::nullopt;
  }
  XZFS_ASSIGN_OR_RETURN(const LoadedIndexPtr loaded, shared_->Index());
  const uint64_t last = offset + std::min<uint64_t>(length, size() - offset) - 1;
  if (shared_->UnitAt(*loaded, last).begin != shared_->UnitAt(*loaded, offset).begin) {
    return std::nullopt;
  }
  std::optional<Piece> lent;
  XZFS_RETURN_IF_ERROR(Visit(offset, length, [&](Piece piece) { lent = std::move(piece); }));
  return lent;
}

Result<size_t> XzReader::Visit(uint64_t offset, size_t length,
                               const std::function<void(Piece)>& take) const {
  if (offset >= size() || length == 0) {
    return size_t{0};
  }
  XZFS_ASSIGN_OR_RETURN(const LoadedIndexPtr loaded, shared_->Index());
  const uint64_t end = offset + std::min<uint64_t>(length, size() - offset);
  const bool sequential = Observe(loaded, offset, end);
  for (uint64_t at = offset; at < end;) {
    const UnitRange range = shared_->UnitAt(*loaded, at);
    const uint64_t stop = std::min(end, range.end);
    if (auto damage = shared_->engine.damage.Find(loaded->id(), range.block,
                                                  stop - range.block.plain_offset)) {
      return Failure(std::move(*damage));
    }
    const UnitCache::Access access{.new_visit = Enter(range) || !sequential,
                                   .handed_over_bytes = shared_->source.hands_over ? stop - at : 0,
                                   .end = stop - range.begin};
    // A pass from the start will ask for all of it anyway.
    const bool offer = shared_->source.decoded && !sequential && offset != 0 &&
                       stop - at < range.end - range.begin;
    const auto load = [&](const UnitCache::FlightPtr& flight) {
      return shared_->Load(loaded, range, access.end, offer, flight);
    };
    XZFS_ASSIGN_OR_RETURN(UnitPtr unit,
                          shared_->engine.cache.Get({loaded->id(), range.begin}, access, load));
    const std::span<const std::byte> bytes = unit->bytes().subspan(at - range.begin, stop - at);
    take({std::move(unit), bytes});
    at = stop;
  }
  const size_t served = end - offset;
  shared_->engine.stats.served_bytes.Add(served);
  return served;
}

void XzReader::DecodeAhead() const {
  const auto loaded = shared_->Index();
  if (!loaded || size() == 0) {
    return;
  }
  const UnitRange range = shared_->UnitAt(**loaded, 0);
  if (range.giant || range.end != size()) {
    return;
  }
  shared_->LoadAhead(*loaded, range, shared_->generation.load(std::memory_order_relaxed));
  if (const UnitPtr unit = shared_->engine.cache.Peek({(*loaded)->id(), 0})) {
    shared_->source.decoded(0, unit);
  }
}

bool XzReader::Enter(const UnitRange& range) const {
  MutexLock lock(mutex_);
  return readahead_.Enter(range.begin, range.end);
}

// Tells the readahead of a read and starts what it asks for. Returns whether the read is part of a
// sequential pass.
bool XzReader::Observe(const LoadedIndexPtr& loaded, uint64_t offset, uint64_t end) const {
  std::vector<UnitRange> plan;
  uint64_t generation = 0;
  bool sequential = false;
  bool jumped = false;
  {
    MutexLock lock(mutex_);
    const bool had_ahead = HasAhead();
    read_giant_ = read_giant_ || shared_->UnitAt(*loaded, offset).giant;
    const uint64_t before = readahead_.generation();
    sequential = readahead_.Observe(offset, end);
    generation = readahead_.generation();
    jumped = had_ahead && generation != before;
    while (readahead_.Wanted() != 0 && readahead_.next_offset() < size()) {
      const UnitRange range = shared_->UnitAt(*loaded, readahead_.next_offset());
      readahead_.Planned(range.begin, range.end);
      if (range.begin >= end) {
        plan.push_back(range);
      }
    }
    shared_->generation.store(generation, std::memory_order_relaxed);
  }
  if (jumped) {
    shared_->engine.cache.ReleaseAhead(loaded->id());
  }
  if (!plan.empty()) {
    Submit(loaded, std::move(plan), generation, end);
  }
  return sequential;
}

// Whole Blocks are tasks of their own, on as many threads as there are.
void XzReader::Submit(const LoadedIndexPtr& loaded, std::vector<UnitRange> ranges,
                      uint64_t generation, uint64_t read_end) const {
  const auto giant = std::stable_partition(ranges.begin(), ranges.end(),
                                           [](const UnitRange& range) { return !range.giant; });
  std::vector<UnitRange> slices(std::make_move_iterator(giant),
                                std::make_move_iterator(ranges.end()));
  ranges.erase(giant, ranges.end());
  if (!ranges.empty()) {
    // Several threads that read parts of a file in turn are no sequential reader to the kernel.
    const BlockInfo& last = ranges.back().block;
    const uint64_t begin = ranges.front().block.compressed_offset;
    shared_->source.stored->WillRead(begin, last.compressed_offset + last.unpadded_size - begin);
  }
  for (const UnitRange& range : ranges) {
    shared_->engine.pool.TrySubmit([shared = shared_, loaded, range, generation] {
      shared->LoadAhead(loaded, range, generation);
    });
  }
  if (!slices.empty()) {
    shared_->PlanSlices(std::move(slices), generation, read_end);
    shared_->StartSlices(loaded);
  }
}

void XzReader::Shared::PlanSlices(std::vector<UnitRange> ranges, uint64_t planned_generation,
                                  uint64_t read_end) {
  MutexLock lock(slices_mutex);
  if (slices_generation != planned_generation) {
    slices.clear();
    slices_generation = planned_generation;
  }
  // No decoder goes back for what the reader has decoded itself: it would hold up the others.
  while (!slices.empty() && slices.front().end <= read_end) {
    slices.pop_front();
  }
  slices.insert(slices.end(), std::make_move_iterator(ranges.begin()),
                std::make_move_iterator(ranges.end()));
}

void XzReader::Shared::StartSlices(const LoadedIndexPtr& loaded) {
  MutexLock lock(slices_mutex);
  if (!decoding_slices && !slices.empty()) {
    decoding_slices = engine.pool.TrySubmit(
        [shared = shared_from_this(), loaded] { shared->DecodeSlices(loaded); });
  }
}

void XzReader::Shared::DecodeSlices(const LoadedIndexPtr& loaded) {
  while (const std::optional<PlannedSlice> next = TakeSlice()) {
    if (!LoadAhead(loaded, next->range, next->generation)) {
      GiveBack(*next);
      return;
    }
  }
}

// Nothing: the task is at its end.
std::optional<XzReader::PlannedSlice> XzReader::Shared::TakeSlice() {
  MutexLock lock(slices_mutex);
  if (slices.empty()) {
    decoding_slices = false;
    return std::nullopt;
  }
  const PlannedSlice next{slices.front(), slices_generation};
  slices.pop_front();
  return next;
}

// There is no decoder for it now, and the task ends. The reader's next slice starts another.
void XzReader::Shared::GiveBack(const PlannedSlice& slice) {
  MutexLock lock(slices_mutex);
  if (slices_generation == slice.generation) {
    slices.push_front(slice.range);
  }
  decoding_slices = false;
}

Result<LoadedIndexPtr> XzReader::Shared::Index() const {
  XZFS_ASSIGN_OR_RETURN(LoadedIndexPtr loaded,
                        engine.indexes.Get(source.identity, source.format, source.file_id,
                                           *source.stored, source.name));
  if (loaded->index().plain_size() != source.plain_size) {
    return Fail(ESTALE, source.name() + " was changed while it was open: open it again");
  }
  return loaded;
}

// Returns false if a slice was left because no decoder that is free stands just before it: one may
// when the reader has decoded more.
bool XzReader::Shared::LoadAhead(const LoadedIndexPtr& loaded, const UnitRange& range,
                                 uint64_t planned_generation) const {
  if (engine.cache.Contains({loaded->id(), range.begin}) ||
      engine.damage.Find(loaded->id(), range.block, range.end - range.block.plain_offset)) {
    return true;
  }
  // The turn before the flight: who joins the flight must not wait behind other readers for it.
  const Turns::Hold turn(engine.turns, Turns::Priority::kLow);
  if (generation.load(std::memory_order_relaxed) != planned_generation) {
    return true;
  }
  bool left = false;
  engine.cache.LoadAhead({loaded->id(), range.begin}, range.end - range.begin,
                         [&](const UnitCache::FlightPtr& flight) {
                           Result<UnitPtr> unit = LoadUnitAhead(loaded, range, flight);
                           left = !unit && unit.error().code == EAGAIN;
                           return unit;
                         });
  return !left;
}

// REQUIRES: the caller holds one of `engine.turns`.
Result<UnitPtr> XzReader::Shared::LoadUnitAhead(const LoadedIndexPtr& loaded,
                                                const UnitRange& range,
                                                const UnitCache::FlightPtr& flight) const {
  if (range.giant) {
    return engine.giants.Load(
        {*loaded, *source.stored, range.block, range.slice, reader, GiantBlocks::Effort::kAhead});
  }
  BlockLoad load(engine, loaded, source.stored, range.block);
  if (engine.verify == Verify::kStream) {
    while (load.size() - load.ready_bytes() > kStreamStepBytes) {
      XZFS_RETURN_IF_ERROR(load.DecodeTo(load.ready_bytes() + kStreamStepBytes));
      engine.cache.Publish(flight, load.unit(), load.ready_bytes());
    }
  }
  XZFS_RETURN_IF_ERROR(load.DecodeTo(load.size()));
  return load.unit();
}

XzReader::UnitRange XzReader::Shared::UnitAt(const LoadedIndex& loaded, uint64_t offset) const {
  UnitRange range;
  range.block = loaded.index().Find(offset);
  range.begin = range.block.plain_offset;
  range.end = range.begin + range.block.plain_size;
  range.giant = range.block.plain_size > engine.whole_block_bytes;
  if (range.giant) {
    range.slice = (offset - range.begin) / kSliceBytes;
    range.begin += range.slice * kSliceBytes;
    range.end = std::min(range.end, range.begin + kSliceBytes);
  }
  return range;
}

// `end`: the reader needs no more of the unit. `offer`: the rest of it may go to the kernel.
Result<UnitPtr> XzReader::Shared::Load(const LoadedIndexPtr& loaded, const UnitRange& range,
                                       size_t end, bool offer, const UnitCache::FlightPtr& flight) {
  DecodedListener decoded = [](uint64_t, const UnitPtr&) {};
  if (offer) {
    decoded = source.decoded;
  }
  if (engine.verify == Verify::kStream && !range.giant) {
    return StreamBlock(loaded, range.block, end, decoded, flight);
  }
  UnitPtr unit;
  if (range.giant) {
    XZFS_ASSIGN_OR_RETURN(
        unit, engine.giants.Load({*loaded, *source.stored, range.block, range.slice, reader,
                                  GiantBlocks::Effort::kReader}));
    StartSlices(loaded);
  } else {
    XZFS_ASSIGN_OR_RETURN(unit, LoadBlock(loaded, range.block));
  }
  decoded(range.begin, unit);
  return unit;
}

Result<UnitPtr> XzReader::Shared::LoadBlock(const LoadedIndexPtr& loaded,
                                            const BlockInfo& block) const {
  // The turn first: only as many Blocks are held in memory as are decoded at once.
  const Turns::Hold turn(engine.turns, Turns::Priority::kHigh);
  BlockLoad load(engine, loaded, source.stored, block);
  XZFS_RETURN_IF_ERROR(load.DecodeTo(load.size()));
  return load.unit();
}

// Decodes what the reader needs and leaves the rest to the pool.
Result<UnitPtr> XzReader::Shared::StreamBlock(const LoadedIndexPtr& loaded, const BlockInfo& block,
                                              size_t end, const DecodedListener& decoded,
                                              const UnitCache::FlightPtr& flight) const {
  const Turns::Hold turn(engine.turns, Turns::Priority::kHigh);
  const auto load = std::make_shared<BlockLoad>(engine, loaded, source.stored, block);
  while (load->ready_bytes() < end) {
    XZFS_RETURN_IF_ERROR(load->DecodeTo(std::min(load->ready_bytes() + kStreamStepBytes, end)));
    engine.cache.Publish(flight, load->unit(), load->ready_bytes());
  }
  const auto finish = [&engine = engine, load, flight, decoded, begin = block.plain_offset] {
    if (FinishBlock(engine, *load, flight)) {
      decoded(begin, load->unit());
    }
  };
  if (load->ready_bytes() < load->size() && LeaveToPool(engine, load->size(), finish)) {
    return nullptr;
  }
  XZFS_RETURN_IF_ERROR(load->DecodeTo(load->size()));
  decoded(block.plain_offset, load->unit());
  return load->unit();
}

}  // namespace xzfs
