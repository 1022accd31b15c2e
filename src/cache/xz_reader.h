// The decoded bytes of one open compressed file.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/identity.h"
#include "base/mutex.h"
#include "cache/loaded_index.h"
#include "cache/read_engine.h"
#include "cache/readahead.h"
#include "xzfs/random_access_file.h"

namespace xzfs {

// One reader of one version of a compressed file: random access through the cache, decode-ahead
// when it reads sequentially. Thread-safe.
//
// It doesn't hold the Index in memory: that is the IndexCache's, which may drop it and read it
// again. So the memory that open files cost is bounded, however many there are.
class XzReader : public RandomAccessFile {
 public:
  // A unit, and where it begins in the file.
  using DecodedListener = std::function<void(uint64_t offset, const UnitPtr& unit)>;

  // What is read.
  struct Source {
    Identity identity;
    Format format = Format::kXz;
    uint64_t plain_size = 0;
    // LoadedIndex::id of the version, if its Index was read before; else 0.
    uint64_t file_id = 0;
    // What is read is handed over to the kernel's page cache, and not kept here, too.
    bool hands_over = false;
    // Is told of units that were decoded for a read of a part of them, unless it belongs to a
    // sequential pass. Null: nobody. Must not block; may be called until the engine ends.
    DecodedListener decoded = nullptr;
    // Has the content that `identity` names, or fails with ESTALE.
    std::shared_ptr<const RandomAccessFile> stored;
    // For the log.
    std::function<std::string()> name;
  };

  XzReader(ReadEngine& engine, Source source);
  // Decode-ahead that was planned and hasn't begun is dropped.
  ~XzReader() override;

  // Errors: EIO if any byte of the range is in a Block that is damaged, EFBIG if it is in one whose
  // decoder would exceed the limit: nothing is returned then, not even the bytes before it; what
  // the stored file says.
  Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) const override;
  uint64_t size() const override { return shared_->source.plain_size; }

  // Decoded bytes where they lie. They stay while `unit` is held.
  struct Piece {
    UnitPtr unit;
    std::span<const std::byte> bytes;
  };
  // As ReadAt of `length` bytes, without the copy, where one unit has them all; else nothing: who
  // reads holds one unit in memory, not several.
  Result<std::optional<Piece>> Lend(uint64_t offset, size_t length) const;

  // Decodes a file that is one unit before it is read, and tells Source::decoded. Does nothing if
  // it is larger, in the cache, or damaged, or if decode-ahead has no memory. Blocks.
  void DecodeAhead() const;

 private:
  // A unit: a Block, or a slice of a giant one.
  struct UnitRange {
    BlockInfo block;
    uint64_t begin = 0;  // in the logical file
    uint64_t end = 0;
    bool giant = false;
    uint64_t slice = 0;
  };
  struct PlannedSlice {
    UnitRange range;
    uint64_t generation;
  };
  // What decode-ahead tasks need and may outlive the reader.
  struct Shared : std::enable_shared_from_this<Shared> {
    Shared(ReadEngine& read_engine, Source read_source)
        : engine(read_engine), source(std::move(read_source)), reader(engine.next_reader++) {}

    ReadEngine& engine;
    const Source source;
    const uint64_t reader;                // names this reader to the GiantBlocks
    std::atomic<uint64_t> generation{0};  // tasks of an older one do nothing; guards nothing else

    // Slices of giant Blocks come out of one decoder in their order, so one task at a time decodes
    // those that are planned. It ends when a run of another one has that decoder, and begins again
    // after the next run of the reader's own, or when more is planned.
    Mutex slices_mutex;
    std::deque<UnitRange> slices GUARDED_BY(slices_mutex);
    uint64_t slices_generation GUARDED_BY(slices_mutex) = 0;
    bool decoding_slices GUARDED_BY(slices_mutex) = false;

    // The reader has read up to `read_end`.
    void PlanSlices(std::vector<UnitRange> ranges, uint64_t planned_generation, uint64_t read_end)
        EXCLUDES(slices_mutex);
    void StartSlices(const LoadedIndexPtr& loaded) EXCLUDES(slices_mutex);
    void DecodeSlices(const LoadedIndexPtr& loaded) EXCLUDES(slices_mutex);
    std::optional<PlannedSlice> TakeSlice() EXCLUDES(slices_mutex);
    void GiveBack(const PlannedSlice& slice) EXCLUDES(slices_mutex);
    Result<LoadedIndexPtr> Index() const;
    UnitRange UnitAt(const LoadedIndex& loaded, uint64_t offset) const;
    Result<UnitPtr> Load(const LoadedIndexPtr& loaded, const UnitRange& range, size_t end,
                         bool offer, const UnitCache::FlightPtr& flight);
    Result<UnitPtr> LoadBlock(const LoadedIndexPtr& loaded, const BlockInfo& block) const;
    Result<UnitPtr> StreamBlock(const LoadedIndexPtr& loaded, const BlockInfo& block, size_t end,
                                const DecodedListener& decoded,
                                const UnitCache::FlightPtr& flight) const;
    bool LoadAhead(const LoadedIndexPtr& loaded, const UnitRange& range,
                   uint64_t planned_generation) const;
    Result<UnitPtr> LoadUnitAhead(const LoadedIndexPtr& loaded, const UnitRange& range,
                                  const UnitCache::FlightPtr& flight) const;
  };

  // Hands the pieces of a range to `take`, in order. Returns how many bytes they have.
  Result<size_t> Visit(uint64_t offset, size_t length,
                       const std::function<void(Piece)>& take) const;
  bool HasAhead() const REQUIRES(mutex_) { return read_giant_ || readahead_.HasPlan(); }
  bool Observe(const LoadedIndexPtr& loaded, uint64_t offset, uint64_t end) const EXCLUDES(mutex_);
  bool Enter(const UnitRange& range) const EXCLUDES(mutex_);
  void Submit(const LoadedIndexPtr& loaded, std::vector<UnitRange> ranges, uint64_t generation,
              uint64_t read_end) const;

  const std::shared_ptr<Shared> shared_;
  mutable Mutex mutex_;
  mutable Readahead readahead_ GUARDED_BY(mutex_);
  mutable bool read_giant_ GUARDED_BY(mutex_) = false;  // it may have left slices decoded ahead
};

}  // namespace xzfs
