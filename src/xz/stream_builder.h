// What is around the Blocks of a .xz Stream.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "xzfs/check.h"
#include "xzfs/result.h"

struct lzma_index_s;

namespace xzfs {

// The frame of one Stream: its Header, its Index and its Footer. A file consists of Header(), the
// Blocks in the order in which they were added, each with its padding, and Finish(), with nothing
// between them. Blocks may come from a BlockEncoder or byte for byte from any Stream with the same
// Check. Not thread-safe; may move between threads. Holds 16 bytes a Block.
class StreamBuilder {
 public:
  // REQUIRES: `check` is an ID up to kLargestCheckId. Throws std::bad_alloc.
  explicit StreamBuilder(Check check);

  // The 12 bytes that begin the Stream.
  std::vector<std::byte> Header() const;
  // Counts the next Block. `unpadded_size` is without Block Padding, as in BlockInfo. A call that
  // fails changes nothing. Errors: EINVAL if no Block can have such sizes; EFBIG if the Stream gets
  // larger than the format allows; ENOMEM.
  Status Add(uint64_t unpadded_size, uint64_t plain_size);
  // Where the next Block begins, or the Index if there is none: bytes from the Stream's start.
  uint64_t position() const;
  // The plain size of all Blocks so far, in bytes.
  uint64_t plain_size() const;
  // The Index and Footer for the Blocks so far. Changes nothing. Errors: ENOMEM.
  Result<std::vector<std::byte>> Finish() const;

 private:
  struct IndexDeleter {
    void operator()(lzma_index_s* index) const;
  };

  Check check_;
  std::unique_ptr<lzma_index_s, IndexDeleter> index_;
};

// The CRC64 that .xz uses (ECMA-182). `crc`: that of the bytes before `bytes`, to continue from.
// Thread-safe.
uint64_t Crc64(std::span<const std::byte> bytes, uint64_t crc = 0);

}  // namespace xzfs
