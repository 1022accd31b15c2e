// Encodes plain bytes as .xz Blocks.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "xzfs/check.h"
#include "xzfs/result.h"

namespace xzfs {

// How Blocks are compressed. The defaults are xz's.
struct EncodeOptions {
  // 0..9 as in xz: a higher one makes smaller files, more slowly and with more memory.
  unsigned preset = 6;
  bool extreme = false;  // xz's -e: slower still, and rarely much smaller
  Check check = Check::kCrc64;
};

struct EncodedBlock {
  // The whole Block: header, compressed data, padding and Check. A multiple of 4.
  std::vector<std::byte> bytes;
  uint64_t unpadded_size = 0;  // as in BlockInfo: without the padding
  uint64_t plain_size = 0;
  bool stored = false;  // as uncompressed LZMA2 chunks
};

// Encodes Blocks, one at a time, as `xz -T` does: one LZMA2 filter, both sizes in the Block Header.
// The dictionary is no larger than the Block needs, so that decoding takes no more memory than it
// must. A Block depends on nothing but its plain bytes and the options: it can be part of any
// Stream with that Check.
//
// Not thread-safe; may move between threads. Holds memory between Blocks (at most MemoryBytes() of
// the largest), as Blocks of one size are encoded one after another. When a call fails it frees the
// encoder's memory.
class BlockEncoder {
 public:
  explicit BlockEncoder(const EncodeOptions& options);
  ~BlockEncoder();
  BlockEncoder(const BlockEncoder&) = delete;
  BlockEncoder& operator=(const BlockEncoder&) = delete;

  // Encodes `plain` as one Block. Bytes that don't shrink are stored: the Block is never larger
  // than `plain` plus 3 bytes every 64 KiB plus 100. If they look incompressible it doesn't try.
  // `cancelled` may be null. It is checked every few milliseconds to tenths of a second. Errors:
  // ECANCELED if it was set; EINVAL if liblzma doesn't have the options; ENOMEM. After an error the
  // next call starts from the beginning. REQUIRES: plain isn't empty.
  Result<EncodedBlock> Encode(std::span<const std::byte> plain,
                              const std::atomic<bool>* cancelled = nullptr);

  // An upper bound of what a new BlockEncoder allocates to encode Blocks of up to `plain_bytes`:
  // what it holds, and one EncodedBlock. UINT64_MAX if liblzma doesn't have the options.
  static uint64_t MemoryBytes(const EncodeOptions& options, uint64_t plain_bytes);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace xzfs
