// Where the Blocks of a compressed file are: its Streams' Indexes as one list.
#pragma once

#if __cplusplus < 202002L
#error "xzfs needs C++20: compile with -std=c++20 or later"
#endif

#include <cstdint>
#include <vector>

#include "xzfs/check.h"
#include "xzfs/export.h"
#include "xzfs/format.h"
#include "xzfs/random_access_file.h"
#include "xzfs/result.h"

namespace xzfs {

// One Block. Ranges are half-open.
struct BlockInfo {
  uint64_t number = 0;             // from 0, over all Streams
  uint64_t plain_offset = 0;       // of its first decoded byte in the logical file
  uint64_t plain_size = 0;         // bytes; 0 for an empty Block
  uint64_t compressed_offset = 0;  // of its Block Header in the stored file
  uint64_t unpadded_size = 0;      // bytes in the stored file, without Block Padding
  Check check = Check::kNone;      // of its Stream
};

struct BlockIndexOptions {
  // Upper bound of what reading the Index may allocate, in bytes. An Index needs about 40 bytes a
  // Block while it is read and 24 after.
  uint64_t memory_limit_bytes = uint64_t{64} << 20;
};

// The Blocks of one compressed file. The legacy formats have no Index: their "Blocks" are the
// parts that can be decoded on their own, a whole .lzma file or one member of a .lz file.
// Immutable. Everything in it was checked when it was read: sizes add up without overflow, Blocks
// lie inside the file and do not overlap.
class BlockIndex {
 public:
  // Reads the Index of a file of `format`; kAuto: of the one that its first bytes show. For kXz
  // only Stream Headers, Footers and Indexes are read: at most three reads for one Stream, nothing
  // is decoded. A .lzma file without a size in its header and a .lz file with trailing data are
  // decoded once to learn their size.
  // Errors: kDamaged if the file is damaged, truncated or not compressed; kOverLimit if it exceeds
  // the memory limit; kInvalid for kRaw. Blocks: on I/O, for the legacy formats on decoding.
  XZFS_EXPORT static Result<BlockIndex> Read(const RandomAccessFile& file,
                                             Format format = Format::kAuto,
                                             const BlockIndexOptions& options = {});

  Format format() const { return format_; }
  // Size of the logical file in bytes.
  uint64_t plain_size() const { return plain_size_; }
  uint64_t block_count() const { return records_.size(); }
  uint64_t stream_count() const { return stream_count_; }
  // Decoded size of the largest Block in bytes.
  uint64_t largest_block() const { return largest_block_; }
  // What this object holds in memory, in bytes.
  XZFS_EXPORT uint64_t memory_bytes() const;

  // The Checks in use, each once, in the order of first use.
  XZFS_EXPORT std::vector<Check> Checks() const;

  // REQUIRES: number < block_count().
  XZFS_EXPORT BlockInfo Block(uint64_t number) const;

  // The Block that holds the byte at `plain_offset`. REQUIRES: plain_offset < plain_size().
  XZFS_EXPORT BlockInfo Find(uint64_t plain_offset) const;

 private:
  friend class BlockIndexBuilder;

  struct Record {
    uint64_t plain_offset;
    uint64_t compressed_offset;
    uint64_t unpadded_size;
  };
  // Blocks from `first_block` on, up to the next entry, belong to a Stream with this Check.
  struct CheckRun {
    uint64_t first_block;
    Check check;
  };

  Format format_ = Format::kXz;
  uint64_t plain_size_ = 0;
  uint64_t stream_count_ = 0;
  uint64_t largest_block_ = 0;
  std::vector<Record> records_;
  std::vector<CheckRun> check_runs_;
};

}  // namespace xzfs
