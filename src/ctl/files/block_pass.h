// All bytes of Blocks, front to back.
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

// What one decoder may take: those of xz's presets need up to 65 MiB, and the user named the file.
inline constexpr uint64_t kDecoderBytes = uint64_t{4} << 30;

// Is given the bytes at `offset` of the logical file.
using TakeBytes = std::function<Status(uint64_t offset, std::span<const std::byte> bytes)>;

// Decodes `block` and gives it to `take` in parts of at most 1 MiB, each before the Block's Check
// is verified; success says that all of them were right. Errors: EIO if it is damaged, ECANCELED,
// what reading and `take` say. Holds such a part and a decoder, the memory of which each thread
// keeps for its next Block. Blocks.
Status PassBlock(const RandomAccessFile& stored, const BlockIndex& index, const BlockInfo& block,
                 const std::atomic<bool>& cancelled, const TakeBytes& take);

// The same for all Blocks at once, on this thread and up to `threads` - 1 of `pool`; `take` is
// called by several threads. The first error ends it; it names the Block, if it isn't of `take`.
Status PassFile(WorkerPool& pool, unsigned threads, const RandomAccessFile& stored,
                const BlockIndex& index, const std::atomic<bool>& cancelled, const TakeBytes& take);

}  // namespace xzfs
