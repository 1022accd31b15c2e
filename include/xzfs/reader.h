// Reading compressed files at any offset.
#pragma once

#if __cplusplus < 202002L
#error "xzfs needs C++20: compile with -std=c++20 or later"
#endif

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "xzfs/block_index.h"
#include "xzfs/byte_string.h"
#include "xzfs/export.h"
#include "xzfs/random_access_file.h"
#include "xzfs/result.h"

namespace xzfs {

struct ReadCacheOptions {
  // The budget in bytes. No file is refused because of it. Two things may exceed it: a Block for
  // each reading thread, and a decoder that needs more than three quarters of it, such as one for
  // `xz -9` with its 65 MiB. If such a decoder is at work the next one mostly waits. A larger
  // budget keeps more Blocks. Least: 16 MiB.
  uint64_t memory_bytes = uint64_t{64} << 20;
  // Threads that decode ahead of sequential readers and that help with a long read. 0: one for
  // each processor that this process may use. The threads that call Read decode, too.
  unsigned threads = 0;
  // Blocks up to this size are decoded whole, and their Check is verified before a byte of them
  // is returned. Larger ones are decoded in slices of 1 MiB, and verified when their end is
  // reached. In bytes; 0: an eighth of memory_bytes.
  uint64_t whole_block_bytes = 0;
  // What a file may ask for, in bytes. This bounds a decoder with its dictionary, which is no
  // larger than its Block, and the reading of an Index, which takes about 40 bytes a Block. What
  // needs more is refused with kOverLimit. For files that are not trusted. Unset: 5 GiB, in which
  // every dictionary fits.
  std::optional<uint64_t> memory_limit_bytes = {};
};

// What Readers share: the threads that decode ahead, and the memory for decoded Blocks and for
// decoders. Copies are the same cache, which ends with the last copy and the last Reader of it.
// Thread-safe.
class ReadCache {
 public:
  // Starts the threads. Errors: EAGAIN if the system can't start that many.
  XZFS_EXPORT static Result<ReadCache> Create(const ReadCacheOptions& options = {});

 private:
  friend class Reader;
  friend struct ReadCacheInside;
  class Impl;
  explicit ReadCache(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

// The decoded bytes of one .xz, .lzma or .lz file. Only the Blocks that a read touches are decoded,
// and each once, however many threads want it; a Reader that is read sequentially has the next ones
// decoded ahead. Thread-safe: any number of threads may read at the same time. Movable; what was
// moved from may only be destroyed or assigned to.
class Reader final : public RandomAccessFile {
 public:
  // Opens the file at `path`. Its first bytes tell the format; its name does not. The Reader has a
  // cache of its own, or uses one that others share. Holds a descriptor. Reads the Index, no more;
  // for .lzma and .lz see BlockIndex::Read. Blocks: on I/O.
  // Errors: kDamaged if it isn't a compressed file, or its Index is damaged; kOverLimit if it
  // exceeds the cache's memory limit; what the system said.
  XZFS_EXPORT static Result<Reader> Open(const std::filesystem::path& path,
                                         const ReadCacheOptions& options = {});
  XZFS_EXPORT static Result<Reader> Open(const std::filesystem::path& path, ReadCache cache);
  // The same for the file that `descriptor` is open for reading. The Reader holds a duplicate, and
  // neither uses nor moves its position. `name` is for messages.
  XZFS_EXPORT static Result<Reader> OpenDescriptor(int descriptor, const std::string& name,
                                                   ReadCache cache);
  // The same for compressed bytes from anywhere. If the bytes come out
  // of another Reader, at whatever depth, the two need different caches: else they would wait for
  // each other's decoders. Errors: kInvalid if they have the same cache; a read may return it, too.
  XZFS_EXPORT static Result<Reader> Open(std::shared_ptr<const RandomAccessFile> stored,
                                         const std::string& name,
                                         const ReadCacheOptions& options = {});
  XZFS_EXPORT static Result<Reader> Open(std::shared_ptr<const RandomAccessFile> stored,
                                         const std::string& name, ReadCache cache);
  XZFS_EXPORT ~Reader() override;
  XZFS_EXPORT Reader(Reader&& other) noexcept;
  XZFS_EXPORT Reader& operator=(Reader&& other) noexcept;

  // Up to `length` bytes from `offset`; fewer only at the end. Several Blocks are decoded by
  // several threads. Blocks: on I/O and decoding.
  // Errors: kDamaged if any byte of the range is in a damaged Block: nothing is returned then, and
  // the rest of the file can be read; kUnsupported and kOverLimit in the same way; kChanged if the
  // file was changed since it was opened; ENOMEM.
  XZFS_EXPORT Result<Bytes> Read(uint64_t offset, uint64_t length) const;
  // The same into a buffer of the caller, as RandomAccessFile.
  XZFS_EXPORT Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) const override;
  // The number of decoded bytes.
  XZFS_EXPORT uint64_t size() const override;

  // Where the Blocks are. Valid as long as the Reader isn't destroyed or moved from.
  XZFS_EXPORT const BlockIndex& index() const;
  // The size of the compressed file in bytes.
  XZFS_EXPORT uint64_t compressed_size() const;

 private:
  class Impl;
  explicit Reader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace xzfs
