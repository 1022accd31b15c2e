// A Block on its way from the stored file into a unit.
#pragma once

#include <cstddef>
#include <memory>

#include "base/memory_budget.h"
#include "cache/loaded_index.h"
#include "cache/unit_cache.h"
#include "xz/block_decoder.h"
#include "xzfs/random_access_file.h"

namespace xzfs {

struct ReadEngine;

// Decodes one whole Block in as many steps as its user likes. Not thread-safe; may move between
// threads. Holds the Block's memory, charged to the budget.
class BlockLoad {
 public:
  // `engine` outlives the load.
  BlockLoad(ReadEngine& engine, LoadedIndexPtr loaded,
            std::shared_ptr<const RandomAccessFile> stored, const BlockInfo& block);

  // Decodes on until the first `end` bytes are there. When that is all of the Block its Check and
  // sizes are verified before this returns. Errors: EIO and EFBIG, noted; what the stored file
  // says. After an error the load can't be used any more. REQUIRES: the caller holds one of the
  // engine's turns. Blocks.
  Status DecodeTo(size_t end);

  // Decoded bytes, from the start of the Block.
  size_t ready_bytes() const { return ready_bytes_; }
  size_t size() const { return unit_->bytes().size(); }
  // Only the bytes that are ready have a value.
  const std::shared_ptr<Unit>& unit() const { return unit_; }

 private:
  Status Decode(size_t end);

  ReadEngine& engine_;
  const LoadedIndexPtr loaded_;
  const std::shared_ptr<const RandomAccessFile> stored_;
  const BlockInfo block_;
  const std::shared_ptr<Unit> unit_;
  size_t ready_bytes_ = 0;
  std::unique_ptr<BlockDecoder> decoder_;
  MemoryCharge charge_;  // of decoder_
};

}  // namespace xzfs
