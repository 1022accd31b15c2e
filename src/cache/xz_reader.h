// The decoded bytes of one open compressed file.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/mutex.h"
#include "cache/loaded_index.h"
#include "cache/read_engine.h"
#include "cache/readahead.h"
#include "cache/slice_queue.h"
#include "cache/unit.h"
#include "cache/unit_loader.h"
#include "cache/unit_range.h"
#include "xzfs/random_access_file.h"

namespace xzfs {

// One reader of one version of a compressed file: random access through the cache, decode-ahead
// when it reads sequentially. Thread-safe.
//
// It doesn't hold the Index in memory: the IndexCache does, which may drop it and read it again. So
// the memory that open files cost is bounded, however many there are.
class XzReader : public RandomAccessFile {
 public:
  using Source = ReadSource;

  XzReader(ReadEngine& engine, Source source);
  // Decode-ahead that was planned and hasn't begun is dropped.
  ~XzReader() override;

  // Errors: EIO if any byte of the range is in a Block that is damaged, EFBIG if it is in one whose
  // decoder would exceed the limit: nothing is returned then, not even the bytes before it; what
  // the stored file says.
  Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) const override;
  uint64_t size() const override { return loader_->source().plain_size; }

  // Decoded bytes where they lie. They stay while `unit` is held.
  struct Piece {
    UnitPtr unit;
    std::span<const std::byte> bytes;
  };
  // As ReadAt of `length` bytes, without the copy, if one unit has them all. Else nothing, so that
  // a reader holds one unit in memory and not several.
  Result<std::optional<Piece>> Lend(uint64_t offset, size_t length) const;

  // Decodes a file that is one unit before it is read, and tells Source::decoded. Does nothing if
  // it is larger, in the cache, or damaged, or if decode-ahead has no memory. Blocks.
  void DecodeAhead() const;

 private:
  // Hands the pieces of a range to `take`, in order. Returns how many bytes they have.
  Result<size_t> Visit(uint64_t offset, size_t length,
                       const std::function<void(Piece)>& take) const;
  bool HasAhead() const REQUIRES(mutex_) { return read_giant_ || readahead_.HasPlan(); }
  bool Observe(const LoadedIndexPtr& loaded, uint64_t offset, uint64_t end) const EXCLUDES(mutex_);
  bool Enter(const UnitRange& range) const EXCLUDES(mutex_);
  void Submit(const LoadedIndexPtr& loaded, std::vector<UnitRange> ranges, uint64_t generation,
              uint64_t read_end) const;

  ReadEngine& engine_;
  const std::shared_ptr<UnitLoader> loader_;
  const std::shared_ptr<SliceQueue> slices_;
  mutable Mutex mutex_;
  mutable Readahead readahead_ GUARDED_BY(mutex_);
  mutable bool read_giant_ GUARDED_BY(mutex_) = false;  // it may have left slices decoded ahead
};

}  // namespace xzfs
