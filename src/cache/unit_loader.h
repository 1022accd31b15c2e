// Decodes the units of one version of a compressed file.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/identity.h"
#include "cache/loaded_index.h"
#include "cache/read_engine.h"
#include "cache/unit.h"
#include "cache/unit_cache.h"
#include "cache/unit_range.h"
#include "xzfs/random_access_file.h"

namespace xzfs {

// A unit, and where it begins in the file.
using DecodedListener = std::function<void(uint64_t offset, const UnitPtr& unit)>;

// One version of a compressed file, as one reader reads it.
struct ReadSource {
  Identity identity;
  Format format = Format::kXz;
  uint64_t plain_size = 0;
  // LoadedIndex::id of the version, if its Index was read before; else 0.
  uint64_t file_id = 0;
  // What is read is handed over to the kernel's page cache, and not kept here, too.
  bool hands_over = false;
  // Gets the units that were decoded for a read of a part of them, unless that read belongs to a
  // sequential pass. May be null. Must not block; may be called until the engine ends.
  DecodedListener decoded = nullptr;
  // Has the content that `identity` names, or fails with ESTALE.
  std::shared_ptr<const RandomAccessFile> stored;
  // For the log.
  std::function<std::string()> name;
};

// Brings units into the cache for one reader, and ahead of it. Thread-safe. Tasks of the pool hold
// it, too: it may outlive its reader, but not the engine.
class UnitLoader {
 public:
  UnitLoader(ReadEngine& engine, ReadSource source);

  const ReadSource& source() const { return source_; }
  // Names the reader to GiantBlocks; not 0.
  uint64_t reader() const { return reader_; }

  // Errors: ESTALE if the file isn't as large as the source says; as IndexCache::Get. Blocks.
  Result<LoadedIndexPtr> Index() const;
  // The unit that holds the byte at `offset`. REQUIRES: `offset` is in the file.
  UnitRange UnitAt(const LoadedIndex& loaded, uint64_t offset) const;

  // What happens to the part of a unit that the reader didn't ask for.
  enum class Rest {
    kKept,     // it stays here, with the unit
    kOffered,  // ReadSource::decoded gets it, too
  };
  // For UnitCache::Get: decodes the unit of which the reader needs the first `end` bytes. Blocks.
  // REQUIRES: the caller holds no turn.
  Result<UnitPtr> Load(const LoadedIndexPtr& loaded, const UnitRange& range, size_t end, Rest rest,
                       const UnitCache::FlightPtr& flight) const;

  // Decodes a unit ahead of the reader, if it isn't here and the plan of generation `planned_in` is
  // still good. Returns false if it left a slice because no free decoder stands just before it. One
  // may do so when the reader has decoded more. Blocks.
  bool LoadAhead(const LoadedIndexPtr& loaded, const UnitRange& range, uint64_t planned_in) const;

  // The generation of the plan that is good now. LoadAhead does nothing for other plans.
  uint64_t generation() const { return generation_.load(std::memory_order_relaxed); }
  void SetGeneration(uint64_t generation) {
    generation_.store(generation, std::memory_order_relaxed);
  }
  // To be called when the reader is gone: no plan is good any more.
  void EndPlans() { generation_.fetch_add(1, std::memory_order_relaxed); }

 private:
  Result<UnitPtr> LoadSlice(const LoadedIndexPtr& loaded, const UnitRange& range,
                            GiantBlocks::Effort effort) const;
  Result<UnitPtr> LoadBlock(const LoadedIndexPtr& loaded, const BlockInfo& block) const;
  Result<UnitPtr> StreamBlock(const LoadedIndexPtr& loaded, const BlockInfo& block, size_t end,
                              const DecodedListener& decoded,
                              const UnitCache::FlightPtr& flight) const;
  Result<UnitPtr> LoadUnitAhead(const LoadedIndexPtr& loaded, const UnitRange& range,
                                const UnitCache::FlightPtr& flight) const;

  ReadEngine& engine_;
  const ReadSource source_;
  const uint64_t reader_;
  std::atomic<uint64_t> generation_{0};  // guards nothing
};

}  // namespace xzfs
