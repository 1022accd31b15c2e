// How a BlockIndex is made, and the readers that make one from each format.
#pragma once

#include <cstdint>

#include "xzfs/block_index.h"
#include "xzfs/random_access_file.h"
#include "xzfs/result.h"

namespace xzfs {

// Collects the Blocks of a file. Streams are found from the file's end, so they are added from the
// last to the first. The Blocks of each Stream are added from the first to the last. Not
// thread-safe.
class BlockIndexBuilder {
 public:
  BlockIndexBuilder(Format format, const BlockIndexOptions& limits);

  // What it holds now, in bytes.
  uint64_t memory_bytes() const { return index_.memory_bytes(); }
  // The limit minus what it holds and minus `transient_bytes`, which the caller holds.
  uint64_t Room(uint64_t transient_bytes) const;

  // Counts a Stream with `block_count` Blocks and makes room for them. EFBIG if that and
  // `transient_bytes`, which the caller holds, exceed the limit.
  Status BeginStream(Check check, uint64_t block_count, uint64_t transient_bytes);
  // EIO if the logical file gets too large for any offset. REQUIRES: BeginStream counted it.
  Status AddBlock(uint64_t compressed_offset, uint64_t unpadded_size, uint64_t plain_size);
  void EndStream();

  // Counts Streams that are not added one by one.
  void AddStreamCount(uint64_t count) { index_.stream_count_ += count; }

  // The index in the file's order. The builder is empty afterwards.
  BlockIndex Finish();

 private:
  const BlockIndexOptions limits_;
  // While it is being made its lists run from the file's last Block to its first;
  // Record::plain_offset holds the Block's plain size and CheckRun::first_block counts the Blocks
  // behind the run.
  BlockIndex index_;
  uint64_t stream_begin_ = 0;  // records_.size() when the current Stream began
};

// BlockIndex::Read for each format.
Result<BlockIndex> ReadXzIndex(const RandomAccessFile& file, const BlockIndexOptions& limits);
Result<BlockIndex> ReadLzmaAloneIndex(const RandomAccessFile& file,
                                      const BlockIndexOptions& limits);
Result<BlockIndex> ReadLzipIndex(const RandomAccessFile& file, const BlockIndexOptions& limits);

}  // namespace xzfs
