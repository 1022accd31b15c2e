// Making one compressed file, from plain bytes and from Blocks of the file that it replaces.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "base/os.h"
#include "store/encode_pool.h"
#include "xzfs/block_index.h"
#include "xzfs/random_access_file.h"
#include "xzfs/result.h"

namespace xzfs {

// A Block of the new file: the bytes [begin, end) of the logical file.
struct XzPiece {
  uint64_t begin = 0;
  uint64_t end = 0;
  // It is copied as it is stored; else it is encoded.
  std::optional<BlockInfo> reused;
};

// Cuts a logical file of `size` bytes into pieces. Blocks of `base` (may be null) whose bytes
// `is_base(begin, end)` says are unchanged, and which have `check`, are reused; the rest is cut
// into pieces of `block_bytes`. A short last Block is encoded again if bytes follow it.
std::vector<XzPiece> PlanPieces(uint64_t size, uint64_t block_bytes, uint8_t check,
                                const BlockIndex* base,
                                const std::function<bool(uint64_t, uint64_t)>& is_base);

struct XzWriteRequest {
  std::vector<XzPiece> pieces;
  const RandomAccessFile* plain = nullptr;  // what the file is to hold
  int base = -1;                            // open for reading, if pieces are reused
  EncodeOptions options;
  const std::atomic<bool>* cancelled = nullptr;  // may be null
};

struct XzWriteResult {
  uint64_t stored_bytes = 0;
  uint64_t blocks_encoded = 0;
  uint64_t blocks_stored = 0;  // of these, as they are: they don't shrink
  uint64_t blocks_reused = 0;
  // CRC64 of the plain bytes of each piece that was encoded; 0 for the others.
  std::vector<uint64_t> plain_crcs;
};

// Writes a complete .xz into the empty file `out`. Encodes on the pool's threads and on the calling
// one. Holds a bounded number of Blocks. Errors: ECANCELED; what reading `plain` or writing said.
Result<XzWriteResult> WriteXz(Os& os, EncodePool& pool, const XzWriteRequest& request, int out);

// Proves that the file `out`, written for `request`, has the pieces: its Index says so, and each
// that was encoded decodes to bytes with the same checksum as those that were encoded. Errors: EIO.
Status VerifyXz(Os& os, EncodePool& pool, const XzWriteRequest& request,
                const XzWriteResult& written, int out);

// The bytes of an open stored file. Doesn't own the descriptor. Thread-safe.
class StoredFile : public RandomAccessFile {
 public:
  StoredFile(Os& os, int fd, uint64_t size) : os_(os), fd_(fd), size_(size) {}
  Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) const override;
  uint64_t size() const override { return size_; }

 private:
  Os& os_;
  const int fd_;
  const uint64_t size_;
};

// Writes all of `bytes`.
Status WriteFully(Os& os, int fd, std::span<const std::byte> bytes, uint64_t offset);

// Copies in the kernel where it can, else through memory.
Status CopyRange(Os& os, int from, uint64_t from_offset, int to, uint64_t to_offset,
                 uint64_t length);

}  // namespace xzfs
