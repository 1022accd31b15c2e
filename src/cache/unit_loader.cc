// A thread that decodes holds a turn, for one Block or one slice, so that only as many Blocks are
// in memory as are decoded at once. Readers get their turns before decode-ahead does.
//
// With verify=stream a Block is decoded in steps, and the readers that wait are told after each. A
// reader decodes as far as it needs and leaves the rest to a task of the pool, which ends the
// flight.
#include "cache/unit_loader.h"

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

#include "base/try.h"
#include "cache/block_load.h"

namespace xzfs {
namespace {

// With verify=stream: how much is decoded before the readers that wait are told, and before a
// reader that waits for a turn gets it. About 0.3 ms.
constexpr size_t kStreamStepBytes = size_t{32} << 10;

// Between two steps the turn is given up: a reader that waits for one gets it first.
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

// The flight ends whatever happens, or the readers that joined it would hang. Returns whether all
// is well.
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

UnitLoader::UnitLoader(ReadEngine& engine, ReadSource source)
    : engine_(engine), source_(std::move(source)), reader_(engine.next_reader++) {}

Result<LoadedIndexPtr> UnitLoader::Index() const {
  XZFS_ASSIGN_OR_RETURN(LoadedIndexPtr loaded,
                        engine_.indexes.Get(source_.identity, source_.format, source_.file_id,
                                            *source_.stored, source_.name));
  if (loaded->index().plain_size() != source_.plain_size) {
    return Fail(ESTALE, source_.name() + " was changed while it was open: open it again");
  }
  return loaded;
}

UnitRange UnitLoader::UnitAt(const LoadedIndex& loaded, uint64_t offset) const {
  UnitRange range;
  range.block = loaded.index().Find(offset);
  range.begin = range.block.plain_offset;
  range.end = range.begin + range.block.plain_size;
  range.giant = range.block.plain_size > engine_.whole_block_bytes;
  if (range.giant) {
    range.slice = (offset - range.begin) / kSliceBytes;
    range.begin += range.slice * kSliceBytes;
    range.end = std::min(range.end, range.begin + kSliceBytes);
  }
  return range;
}

Result<UnitPtr> UnitLoader::Load(const LoadedIndexPtr& loaded, const UnitRange& range, size_t end,
                                 Rest rest, const UnitCache::FlightPtr& flight) const {
  DecodedListener decoded = [](uint64_t, const UnitPtr&) {};
  if (rest == Rest::kOffered) {
    decoded = source_.decoded;
  }
  if (engine_.verify == Verify::kStream && !range.giant) {
    return StreamBlock(loaded, range.block, end, decoded, flight);
  }
  XZFS_ASSIGN_OR_RETURN(UnitPtr unit, range.giant
                                          ? LoadSlice(loaded, range, GiantBlocks::Effort::kReader)
                                          : LoadBlock(loaded, range.block));
  decoded(range.begin, unit);
  return unit;
}

Result<UnitPtr> UnitLoader::LoadSlice(const LoadedIndexPtr& loaded, const UnitRange& range,
                                      GiantBlocks::Effort effort) const {
  return engine_.giants.Load({*loaded, *source_.stored, range.block, range.slice, reader_, effort});
}

Result<UnitPtr> UnitLoader::LoadBlock(const LoadedIndexPtr& loaded, const BlockInfo& block) const {
  // The turn first: only as many Blocks are held in memory as are decoded at once.
  const Turns::Hold turn(engine_.turns, Turns::Priority::kHigh);
  BlockLoad load(engine_, loaded, source_.stored, block);
  XZFS_RETURN_IF_ERROR(load.DecodeTo(load.size()));
  return load.unit();
}

// Decodes what the reader needs and leaves the rest to the pool.
Result<UnitPtr> UnitLoader::StreamBlock(const LoadedIndexPtr& loaded, const BlockInfo& block,
                                        size_t end, const DecodedListener& decoded,
                                        const UnitCache::FlightPtr& flight) const {
  const Turns::Hold turn(engine_.turns, Turns::Priority::kHigh);
  const auto load = std::make_shared<BlockLoad>(engine_, loaded, source_.stored, block);
  while (load->ready_bytes() < end) {
    XZFS_RETURN_IF_ERROR(load->DecodeTo(std::min(load->ready_bytes() + kStreamStepBytes, end)));
    engine_.cache.Publish(flight, load->unit(), load->ready_bytes());
  }
  const auto finish = [&engine = engine_, load, flight, decoded, begin = block.plain_offset] {
    if (FinishBlock(engine, *load, flight)) {
      decoded(begin, load->unit());
    }
  };
  if (load->ready_bytes() < load->size() && LeaveToPool(engine_, load->size(), finish)) {
    return nullptr;
  }
  XZFS_RETURN_IF_ERROR(load->DecodeTo(load->size()));
  decoded(block.plain_offset, load->unit());
  return load->unit();
}

bool UnitLoader::LoadAhead(const LoadedIndexPtr& loaded, const UnitRange& range,
                           uint64_t planned_in) const {
  if (engine_.cache.Contains({loaded->id(), range.begin}) ||
      engine_.damage.Find(loaded->id(), range.block, range.end - range.block.plain_offset)) {
    return true;
  }
  // The turn before the flight: a reader that joins the flight must not wait behind other readers
  // for it.
  const Turns::Hold turn(engine_.turns, Turns::Priority::kLow);
  if (generation() != planned_in) {
    return true;
  }
  bool left = false;
  engine_.cache.LoadAhead({loaded->id(), range.begin}, range.end - range.begin,
                          [&](const UnitCache::FlightPtr& flight) {
                            Result<UnitPtr> unit = LoadUnitAhead(loaded, range, flight);
                            left = !unit && unit.error().code == EAGAIN;
                            return unit;
                          });
  return !left;
}

// REQUIRES: the caller holds a turn.
Result<UnitPtr> UnitLoader::LoadUnitAhead(const LoadedIndexPtr& loaded, const UnitRange& range,
                                          const UnitCache::FlightPtr& flight) const {
  if (range.giant) {
    return LoadSlice(loaded, range, GiantBlocks::Effort::kAhead);
  }
  BlockLoad load(engine_, loaded, source_.stored, range.block);
  if (engine_.verify == Verify::kStream) {
    while (load.size() - load.ready_bytes() > kStreamStepBytes) {
      XZFS_RETURN_IF_ERROR(load.DecodeTo(load.ready_bytes() + kStreamStepBytes));
      engine_.cache.Publish(flight, load.unit(), load.ready_bytes());
    }
  }
  XZFS_RETURN_IF_ERROR(load.DecodeTo(load.size()));
  return load.unit();
}

}  // namespace xzfs
