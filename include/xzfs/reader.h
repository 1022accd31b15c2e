// Reading compressed files at any offset.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "xzfs/block_index.h"
#include "xzfs/bytes.h"
#include "xzfs/export.h"
#include "xzfs/random_access_file.h"
#include "xzfs/result.h"

namespace xzfs {

// What Readers share: the threads that decode ahead, and the memory for decoded Blocks and for
// decoders. Thread-safe. Owned by its Readers and whoever else holds it.
class ReadCache {
 public:
  struct Options {
    // The budget in bytes. No file is refused for it: it is exceeded by a Block for each reading
    // thread, and by a decoder that needs more than three quarters of it, as one of `xz -9` with
    // its 65 MiB. Of those that are this large the next one mostly waits. More of it keeps more
    // Blocks. Least: 16 MiB.
    uint64_t memory_bytes = uint64_t{64} << 20;
    // Threads that decode ahead of sequential readers and that help with a long ReadAt. 0: one for
    // each processor that this process may use. Those that call ReadAt decode, too.
    unsigned threads = 0;
    // Blocks up to this size are decoded whole, and their Check is verified before a byte of them
    // is returned. Larger ones are decoded in slices of 1 MiB, and verified when their end is
    // reached. In bytes; 0: an eighth of memory_bytes.
    uint64_t whole_block_bytes = 0;
    // What a file may ask for, in bytes: the most that one decoder may take, with its dictionary,
    // which is no larger than its Block, and reading one Index, about 40 a Block. What needs more
    // is refused with EFBIG. For files of strangers. Unset: 5 GiB, in which every dictionary fits.
    std::optional<uint64_t> memory_limit_bytes = {};
  };

  // Starts the threads.
  XZFS_EXPORT static std::shared_ptr<ReadCache> Create(const Options& options);
  XZFS_EXPORT static std::shared_ptr<ReadCache> Create();
  XZFS_EXPORT ~ReadCache();
  ReadCache(const ReadCache&) = delete;
  ReadCache& operator=(const ReadCache&) = delete;

  // Plain bytes that came out of decoders so far, useful or not.
  XZFS_EXPORT uint64_t decoded_bytes() const;

 private:
  friend class Reader;
  class Impl;
  explicit ReadCache(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The decoded bytes of one .xz, .lzma or .lz file. Only the Blocks that a read touches are decoded,
// and each once, however many threads want it; a Reader that is read sequentially has the next ones
// decoded ahead. Thread-safe: any number of threads may read at the same time.
class Reader final : public RandomAccessFile {
 public:
  // Opens the file at `path`, which is taken for compressed by how it begins, not by its name.
  // `cache`: null for one of its own. Holds a descriptor. Reads the Index, no more; for .lzma and
  // .lz see BlockIndex::Read. Blocks: on I/O.
  // Errors: EIO if it isn't a compressed file, or its Index is damaged; EFBIG if it exceeds the
  // cache's memory limit; what the system said.
  XZFS_EXPORT static Result<std::unique_ptr<Reader>> Open(
      const std::string& path, std::shared_ptr<ReadCache> cache = nullptr);
  // The same for compressed bytes from anywhere. `name` is for messages. Bytes that come out of
  // another Reader, at whatever depth, need another `cache` than that one has: two would wait for
  // each other's decoders. Errors: EINVAL if they have the same; it may be met by a read as well.
  XZFS_EXPORT static Result<std::unique_ptr<Reader>> Open(
      std::shared_ptr<const RandomAccessFile> stored, const std::string& name,
      std::shared_ptr<ReadCache> cache = nullptr);
  XZFS_EXPORT ~Reader() override;
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // As RandomAccessFile. Several Blocks are decoded by several threads.
  // Errors: EIO if any byte of the range is in a damaged Block: nothing is returned then, and the
  // rest of the file can be read; EFBIG in the same way if the decoder of one exceeds the memory
  // limit; ESTALE if the file was changed since it was opened.
  XZFS_EXPORT Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) const override;
  // Of the decoded bytes.
  XZFS_EXPORT uint64_t size() const override;
  // Up to `length` bytes from `offset`; fewer only at the end. Errors: as ReadAt; ENOMEM.
  XZFS_EXPORT Result<Bytes> ReadAt(uint64_t offset, uint64_t length) const;

  // Where the Blocks are. Valid as long as the Reader.
  XZFS_EXPORT const BlockIndex& index() const;
  // Of the file, compressed, in bytes.
  XZFS_EXPORT uint64_t compressed_size() const;

 private:
  class Impl;
  explicit Reader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace xzfs
