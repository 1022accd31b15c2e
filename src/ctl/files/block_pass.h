// Decodes Blocks from front to back.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "base/worker_pool.h"
#include "xzfs/block_index.h"
#include "xzfs/random_access_file.h"
#include "xzfs/result.h"

namespace xzfs {

// The memory that one decoder may take: xz's presets need up to 65 MiB, and the user named the
// file.
inline constexpr uint64_t kDecoderBytes = uint64_t{4} << 30;

// Gets the bytes at `offset` of the logical file.
using TakeBytes = std::function<Status(uint64_t offset, std::span<const std::byte> bytes)>;

// Decodes `block` and gives it to `take` in parts of at most 1 MiB. `take` gets them before the
// Block's Check is verified; success means that all of them were right. Errors: EIO if it is
// damaged, ECANCELED, what reading and `take` say. Holds one part and a decoder; each thread keeps
// the decoder's memory for its next Block. Blocks.
Status PassBlock(const RandomAccessFile& stored, const BlockIndex& index, const BlockInfo& block,
                 const std::atomic<bool>& cancelled, const TakeBytes& take);

// The same for all Blocks, several at a time, on this thread and up to `threads` - 1 of `pool`;
// several threads call `take`. The first error ends it. Unless `take` returned it, the error names
// the Block.
Status PassFile(WorkerPool& pool, unsigned threads, const RandomAccessFile& stored,
                const BlockIndex& index, const std::atomic<bool>& cancelled, const TakeBytes& take);

}  // namespace xzfs
