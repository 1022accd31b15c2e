// Finds and decodes what is left of a damaged .xz file, whose Index may be of no use.
//
// Nothing in the file is trusted: a size is used only if the bytes that it counts are there and
// were decoded, or as a hint where to look. Memory is bounded by the arguments and some 100 KiB.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "xzfs/block_index.h"
#include "xzfs/random_access_file.h"
#include "xzfs/result.h"

namespace xzfs {

// What is at some offset of a .xz file.
struct Landmark {
  enum class Kind { kNothing, kStreamHeader, kBlockHeader, kIndex, kDamagedIndex };
  Kind kind = Kind::kNothing;
  uint64_t offset = 0;
  // kStreamHeader, kIndex: offset of what follows; kDamagedIndex: up to where it was read.
  uint64_t end = 0;
  Check check = Check::kNone;  // kStreamHeader: its Check
  // kIndex: Blocks in the Stream; kDamagedIndex: the same if its beginning is right.
  uint64_t block_count = 0;
};

// What is at `offset`: headers and an Index count if their CRC32 is right. kDamagedIndex is
// anything else that begins like an Index. kNothing also if reading fails. `memory_limit_bytes`
// bounds what an Index may take, about 40 bytes a Block; a larger one counts as damaged. Blocks.
Landmark LandmarkAt(const RandomAccessFile& file, uint64_t offset, uint64_t memory_limit_bytes);

// The first Stream Header or Block Header with a right CRC32 at `begin` or behind it, at a multiple
// of 4 from the file's start, as all are; kNothing if there is none. Skips what it can't read.
// Errors: ECANCELED. Blocks.
Result<Landmark> FindLandmark(const RandomAccessFile& file, uint64_t begin,
                              const std::atomic<bool>& cancelled);

// The Block to be decoded.
struct BlockPlace {
  uint64_t offset = 0;         // of its Block Header
  Check check = Check::kNone;  // the Check ID of its Stream
  // What an Index says about it. The Block must agree.
  std::optional<uint64_t> unpadded_size = {};
  std::optional<uint64_t> plain_size = {};
};

// What came out.
struct SalvagedBlock {
  // None: the Block is whole, its sizes and its Check are right.
  std::optional<Error> damage;
  // How many bytes were given. If there is damage, they were decoded before it was noticed: they
  // are not verified, and the last ones may be wrong.
  uint64_t plain_bytes = 0;
  // Where the decoder stopped reading; behind the Block if it is whole.
  uint64_t end = 0;
  // What the Block Header says, if it is right and has these fields.
  std::optional<uint64_t> stored_bytes;  // with Check and Block Padding
  std::optional<uint64_t> plain_size;
};

// Decodes a Block from its start and gives its bytes to `take` in parts of at most 1 MiB. The
// decoder takes at most `memory_limit_bytes`; a Block that needs more counts as damaged. Errors:
// those of `take`. Blocks.
Result<SalvagedBlock> SalvageBlock(const RandomAccessFile& file, const BlockPlace& place,
                                   uint64_t memory_limit_bytes,
                                   const std::function<Status(std::span<const std::byte>)>& take);

}  // namespace xzfs
