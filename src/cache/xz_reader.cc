// A read is cut at unit borders. Each unit comes from the cache or is decoded right here, on the
// reader's own thread: no other thread is faster than the one that is already awake, and a mount
// whose decode-ahead is busy or off still makes progress. The pool only works ahead of sequential
// readers: whole Blocks are tasks of their own, slices of giant ones go into the SliceQueue.
#include "cache/xz_reader.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <utility>

#include "base/try.h"

namespace xzfs {

XzReader::XzReader(ReadEngine& engine, Source source)
    : engine_(engine),
      loader_(std::make_shared<UnitLoader>(engine, std::move(source))),
      slices_(std::make_shared<SliceQueue>(engine.pool, loader_)) {}

XzReader::~XzReader() {
  loader_->EndPlans();
  engine_.giants.ForgetReader(loader_->reader());
  MutexLock lock(mutex_);
  if (loader_->source().file_id != 0 && HasAhead()) {
    engine_.cache.ReleaseAhead(loader_->source().file_id);
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
  XZFS_ASSIGN_OR_RETURN(const LoadedIndexPtr loaded, loader_->Index());
  const uint64_t last = offset + std::min<uint64_t>(length, size() - offset) - 1;
  if (loader_->UnitAt(*loaded, last).begin != loader_->UnitAt(*loaded, offset).begin) {
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
  XZFS_ASSIGN_OR_RETURN(const LoadedIndexPtr loaded, loader_->Index());
  const uint64_t end = offset + std::min<uint64_t>(length, size() - offset);
  const bool sequential = Observe(loaded, offset, end);
  for (uint64_t at = offset; at < end;) {
    const UnitRange range = loader_->UnitAt(*loaded, at);
    const uint64_t stop = std::min(end, range.end);
    if (auto damage =
            engine_.damage.Find(loaded->id(), range.block, stop - range.block.plain_offset)) {
      return Failure(std::move(*damage));
    }
    const UnitCache::Access access{
        .new_visit = Enter(range) || !sequential,
        .handed_over_bytes = loader_->source().hands_over ? stop - at : 0,
        .end = stop - range.begin};
    // A pass from the start will ask for all of it anyway.
    const bool offer = loader_->source().decoded && !sequential && offset != 0 &&
                       stop - at < range.end - range.begin;
    const auto rest = offer ? UnitLoader::Rest::kOffered : UnitLoader::Rest::kKept;
    const auto load = [&](const UnitCache::FlightPtr& flight) {
      Result<UnitPtr> unit = loader_->Load(loaded, range, access.end, rest, flight);
      if (unit && range.giant) {
        slices_->Start(loaded);  // its decoder stands before them now
      }
      return unit;
    };
    XZFS_ASSIGN_OR_RETURN(UnitPtr unit,
                          engine_.cache.Get({loaded->id(), range.begin}, access, load));
    const std::span<const std::byte> bytes = unit->bytes().subspan(at - range.begin, stop - at);
    take({std::move(unit), bytes});
    at = stop;
  }
  const size_t served = end - offset;
  engine_.stats.served_bytes.Add(served);
  return served;
}

void XzReader::DecodeAhead() const {
  const auto loaded = loader_->Index();
  if (!loaded || size() == 0) {
    return;
  }
  const UnitRange range = loader_->UnitAt(**loaded, 0);
  if (range.giant || range.end != size()) {
    return;
  }
  loader_->LoadAhead(*loaded, range, loader_->generation());
  if (const UnitPtr unit = engine_.cache.Peek({(*loaded)->id(), 0})) {
    loader_->source().decoded(0, unit);
  }
}

bool XzReader::Enter(const UnitRange& range) const {
  MutexLock lock(mutex_);
  return readahead_.Enter(range.begin, range.end);
}

// Tells the readahead about a read, and starts what it asks for. Returns whether the read is part
// of a sequential pass.
bool XzReader::Observe(const LoadedIndexPtr& loaded, uint64_t offset, uint64_t end) const {
  std::vector<UnitRange> plan;
  uint64_t generation = 0;
  bool sequential = false;
  bool jumped = false;
  {
    MutexLock lock(mutex_);
    const bool had_ahead = HasAhead();
    read_giant_ = read_giant_ || loader_->UnitAt(*loaded, offset).giant;
    const uint64_t before = readahead_.generation();
    sequential = readahead_.Observe(offset, end);
    generation = readahead_.generation();
    jumped = had_ahead && generation != before;
    while (readahead_.Wanted() != 0 && readahead_.next_offset() < size()) {
      const UnitRange range = loader_->UnitAt(*loaded, readahead_.next_offset());
      readahead_.Planned(range.begin, range.end);
      if (range.begin >= end) {
        plan.push_back(range);
      }
    }
    loader_->SetGeneration(generation);
  }
  if (jumped) {
    engine_.cache.ReleaseAhead(loaded->id());
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
    loader_->source().stored->WillRead(begin, last.compressed_offset + last.unpadded_size - begin);
  }
  for (const UnitRange& range : ranges) {
    engine_.pool.TrySubmit([loader = loader_, loaded, range, generation] {
      loader->LoadAhead(loaded, range, generation);
    });
  }
  if (!slices.empty()) {
    slices_->Plan(std::move(slices), generation, read_end);
    slices_->Start(loaded);
  }
}

}  // namespace xzfs
