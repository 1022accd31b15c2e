// A read is cut at unit borders. Each unit comes from the cache or is decoded right here, on the
// reader's own thread: nobody is faster than the one who is already awake, and a mount whose
// decode-ahead is busy or off still makes progress. The pool only works ahead of sequential
// readers.
#include "cache/xz_reader.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <utility>

#include "xz/block_decoder.h"

namespace xzfs {

XzReader::XzReader(ReadEngine& engine, Source source)
    : shared_(std::make_shared<Shared>(engine, std::move(source))) {}

XzReader::~XzReader() {
  shared_->generation.fetch_add(1, std::memory_order_relaxed);
  shared_->engine.slices.Disown(shared_->reader);
  MutexLock lock(mutex_);
  if (shared_->source.file_id != 0 && HasAhead()) {
    shared_->engine.cache.ReleaseAhead(shared_->source.file_id);
  }
}

Result<size_t> XzReader::ReadAt(uint64_t offset, std::span<std::byte> out) const {
  if (offset >= size() || out.empty()) {
    return size_t{0};
  }
  XZFS_ASSIGN_OR_RETURN(const FilePtr file, shared_->File());
  const uint64_t end = offset + std::min<uint64_t>(out.size(), size() - offset);
  const bool sequential = Observe(file, offset, end);
  for (uint64_t at = offset; at < end;) {
    const UnitRange range = shared_->UnitAt(*file, at);
    const uint64_t stop = std::min(end, range.end);
    if (auto damage =
            shared_->engine.damage.Find(file->id(), range.block, stop - range.block.plain_offset)) {
      return tl::unexpected(std::move(*damage));
    }
    const BlockCache::Access access{
        .new_visit = Enter(range) || !sequential,
        .handed_over_bytes = shared_->source.kernel_keeps ? stop - at : 0};
    XZFS_ASSIGN_OR_RETURN(
        const UnitPtr unit,
        shared_->engine.cache.Get({file->id(), range.begin}, access, [&]() -> Result<UnitPtr> {
          return shared_->Load(*file, range, SliceDecoder::Effort::kReader);
        }));
    std::memcpy(out.data() + (at - offset), unit->bytes().data() + (at - range.begin), stop - at);
    at = stop;
  }
  const size_t served = end - offset;
  shared_->engine.stats.served_bytes.Add(served);
  return served;
}

bool XzReader::Enter(const UnitRange& range) const {
  MutexLock lock(mutex_);
  return readahead_.Enter(range.begin, range.end);
}

// Tells the readahead of a read and starts what it asks for. Returns whether the read is part of a
// sequential pass.
bool XzReader::Observe(const FilePtr& file, uint64_t offset, uint64_t end) const {
  std::vector<UnitRange> plan;
  uint64_t generation = 0;
  bool sequential = false;
  bool jumped = false;
  {
    MutexLock lock(mutex_);
    const bool had_ahead = HasAhead();
    read_giant_ = read_giant_ || shared_->UnitAt(*file, offset).giant;
    const uint64_t before = readahead_.generation();
    sequential = readahead_.Observe(offset, end);
    generation = readahead_.generation();
    jumped = had_ahead && generation != before;
    while (readahead_.Wanted() != 0 && readahead_.next_offset() < size()) {
      const UnitRange range = shared_->UnitAt(*file, readahead_.next_offset());
      readahead_.Planned(range.begin, range.end);
      if (range.begin >= end) {
        plan.push_back(range);
      }
    }
    shared_->generation.store(generation, std::memory_order_relaxed);
  }
  if (jumped) {
    shared_->engine.cache.ReleaseAhead(file->id());
  }
  if (!plan.empty()) {
    Submit(file, std::move(plan), generation);
  }
  return sequential;
}

// Whole Blocks are tasks of their own, on as many threads as there are; the slices of one giant
// Block come out of one decoder and are one task.
void XzReader::Submit(const FilePtr& file, std::vector<UnitRange> ranges,
                      uint64_t generation) const {
  for (auto first = ranges.begin(); first != ranges.end();) {
    auto last = std::next(first);
    while (first->giant && last != ranges.end() && last->block.number == first->block.number) {
      ++last;
    }
    shared_->engine.pool.TrySubmit([shared = shared_, file,
                                    task = std::vector<UnitRange>(first, last),
                                    generation] { shared->LoadAhead(*file, task, generation); });
    first = last;
  }
}

Result<XzReader::FilePtr> XzReader::Shared::File() const {
  XZFS_ASSIGN_OR_RETURN(
      FilePtr file, engine.files.Get(source.identity, source.format, source.file_id, *source.stored,
                                     source.name));
  if (file->index().plain_size() != source.plain_size) {
    return Fail(ESTALE, source.name() + " was changed while it was open: open it again");
  }
  return file;
}

void XzReader::Shared::LoadAhead(const XzFile& file, const std::vector<UnitRange>& ranges,
                                 uint64_t planned_generation) const {
  for (const UnitRange& range : ranges) {
    if (engine.cache.Contains({file.id(), range.begin}) ||
        engine.damage.Find(file.id(), range.block, range.end - range.block.plain_offset)) {
      continue;
    }
    // The slot before the flight: who joins the flight must not wait behind other readers for it.
    const DecodeSlots::Hold slot(engine.slots, DecodeSlots::Priority::kAhead);
    if (generation.load(std::memory_order_relaxed) != planned_generation) {
      return;
    }
    engine.cache.LoadAhead(
        {file.id(), range.begin}, range.end - range.begin,
        [&]() -> Result<UnitPtr> { return Load(file, range, SliceDecoder::Effort::kAhead); });
  }
}

XzReader::UnitRange XzReader::Shared::UnitAt(const XzFile& file, uint64_t offset) const {
  UnitRange range;
  range.block = file.index().Find(offset);
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

Result<UnitPtr> XzReader::Shared::Load(const XzFile& file, const UnitRange& range,
                                       SliceDecoder::Effort effort) const {
  if (range.giant) {
    return engine.slices.Load({file, *source.stored, range.block, range.slice, reader, effort});
  }
  if (effort == SliceDecoder::Effort::kAhead) {
    return LoadBlock(file, range.block);
  }
  // The slot first: only as many Blocks are held in memory as are decoded at once.
  const DecodeSlots::Hold slot(engine.slots, DecodeSlots::Priority::kReader);
  return LoadBlock(file, range.block);
}

// REQUIRES: the caller holds a decode slot.
Result<UnitPtr> XzReader::Shared::LoadBlock(const XzFile& file, const BlockInfo& block) const {
  const std::shared_ptr<Unit> unit = engine.cache.NewUnit(block.plain_size);
  const auto decode = [&]() -> Status {
    XZFS_ASSIGN_OR_RETURN(const std::unique_ptr<BlockDecoder> decoder,
                          BlockDecoder::Open(*source.stored, file.index(), block,
                                             engine.decoder_limit, engine.arenas.Take()));
    const MemoryCharge charge = engine.cache.Reserve(decoder->memory_bytes());
    Status decoded = decoder->Decode(*source.stored, unit->mutable_bytes());
    engine.arenas.Give(decoder->TakeArena());
    return decoded;
  };
  if (Status status = decode(); !status) {
    return tl::unexpected(
        engine.damage.Add(file.id(), file.name(), block, 0, std::move(status.error())));
  }
  engine.stats.decoded_bytes.Add(block.plain_size);
  return unit;
}

}  // namespace xzfs
