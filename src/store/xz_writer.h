// Writes one compressed file, from plain bytes and from Blocks of the file that it replaces.
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
  // The Block that is copied as it is stored. Nothing: the piece is encoded.
  std::optional<BlockInfo> reused;
};

// How a logical file is cut into pieces. Takes memory for each run of pieces of one kind, and not
// for each piece: a size may only be what a file claims.
class XzPlan {
 public:
  XzPlan() = default;  // of an empty file
  // All `size` bytes are encoded, in pieces of `block_bytes`.
  XzPlan(uint64_t size, uint64_t block_bytes);
  // Blocks of `base` that have `check` are reused if `is_base(begin, end)` says that their bytes
  // are unchanged. A short last Block is encoded again if bytes follow it. `base` outlives the
  // plan.
  XzPlan(uint64_t size, uint64_t block_bytes, Check check, const BlockIndex& base,
         const std::function<bool(uint64_t, uint64_t)>& is_base);

  uint64_t size() const { return runs_.empty() ? 0 : runs_.back().end; }
  uint64_t piece_count() const { return piece_count_; }
  uint64_t largest_piece() const { return largest_piece_; }

  // Goes through the pieces, in order.
  class Cursor {
   public:
    explicit Cursor(const XzPlan& plan) : plan_(plan) {}
    // The next piece; nothing at the end.
    std::optional<XzPiece> Next();

   private:
    const XzPlan& plan_;
    size_t run_ = 0;
    uint64_t done_ = 0;   // so far
    uint64_t block_ = 0;  // how many Blocks of a reused run are done
  };

 private:
  // Pieces of one kind that follow each other.
  struct Run {
    uint64_t begin = 0;
    uint64_t end = 0;
    std::optional<uint64_t> first_block;  // of Blocks that are reused: the first one's number
  };

  void EncodeUpTo(uint64_t end);
  void Reuse(const BlockInfo& block);

  std::vector<Run> runs_;
  uint64_t block_bytes_ = 0;
  const BlockIndex* base_ = nullptr;
  uint64_t piece_count_ = 0;
  uint64_t largest_piece_ = 0;
  uint64_t next_block_ = 0;  // the Block that would continue the last run
};

struct XzWriteRequest {
  XzPlan plan;
  const RandomAccessFile* plain = nullptr;  // the content that the file gets
  int base = -1;                            // open for reading, if pieces are reused
  EncodeOptions options;
  const std::atomic<bool>* cancelled = nullptr;  // may be null
  // WriteXz calls it, on its own thread, when so many plain bytes are written, as so many bytes of
  // the new file. Null: nobody wants to know.
  std::function<void(uint64_t plain_bytes, uint64_t stored_bytes)> on_written;
};

struct XzWriteResult {
  uint64_t stored_bytes = 0;
  uint64_t blocks_encoded = 0;
  uint64_t blocks_stored = 0;  // of these, stored as they are, because they don't shrink
  uint64_t blocks_reused = 0;
  // CRC64 of the plain bytes of each piece that was encoded; 0 for the others.
  std::vector<uint64_t> plain_crcs;
};

// Writes a complete .xz into the empty file `out`. Encodes on the pool's threads and on the calling
// one. Holds a bounded number of Blocks. Errors: ECANCELED; errors of reading `plain` or of
// writing.
Result<XzWriteResult> WriteXz(Os& os, EncodePool& pool, const XzWriteRequest& request, int out);

// Proves that the file `out`, written for `request`, has its pieces: the Index lists them, and each
// encoded one decodes to bytes with the checksum that its plain bytes had. Errors: EIO.
Status VerifyXz(Os& os, EncodePool& pool, const XzWriteRequest& request,
                const XzWriteResult& written, int out);

// Reads an open stored file. Doesn't own the descriptor. Thread-safe.
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

// Copies in the kernel if the file system can, else through memory.
Status CopyRange(Os& os, int from, uint64_t from_offset, int to, uint64_t to_offset,
                 uint64_t length);

}  // namespace xzfs
