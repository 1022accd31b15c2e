// Compressing and decompressing of bytes in memory, whole or piece by piece.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "xzfs/bytes.h"
#include "xzfs/check.h"
#include "xzfs/export.h"
#include "xzfs/filter.h"
#include "xzfs/result.h"

namespace xzfs {

enum class StreamFormat : uint8_t {
  kAuto,       // to decompress only: .xz, .lzma or .lz, whatever begins there
  kXz,         // .xz
  kLzmaAlone,  // .lzma, the format before .xz
  kLzip,       // .lz, to decompress only
  kRaw,        // bare filters' output: no magic, no sizes, no Check
};

struct CompressOptions {
  StreamFormat format = StreamFormat::kXz;
  unsigned preset = 6;   // 0..9 as xz: more compresses smaller, slower and with more memory
  bool extreme = false;  // xz's -e: slower yet, and mostly not by much smaller
  // Unset: CRC64 for kXz. The other formats have no Check: anything but kNone is EINVAL there.
  std::optional<Check> check = {};
  // Empty: one LZMA filter as the preset says. Otherwise the whole chain, and preset and extreme
  // are not looked at. kRaw needs one. kLzmaAlone takes one kLzma1.
  std::vector<Filter> filters = {};
  // The most that the encoder may allocate, in bytes. Unset: what it needs (94 MiB with preset 6).
  std::optional<uint64_t> memory_limit_bytes = {};
};

struct DecompressOptions {
  StreamFormat format = StreamFormat::kAuto;
  // The most that the decoder may allocate, in bytes. Unset: what the data asks for, up to 4 GiB.
  std::optional<uint64_t> memory_limit_bytes = {};
  // Of kRaw, and of nothing else: the chain that it was compressed with.
  std::vector<Filter> filters = {};
  // Decompresses all Streams that follow one another, with the Stream Padding between and behind
  // them, as xz does; .lz: all members. False: the first one, and says what is left. Never for kRaw
  // and kLzmaAlone, which can't be told from what follows them.
  bool concatenated = true;
};

// Compresses `plain` to one Stream. Thread-safe. Blocks: on encoding.
// Errors: EINVAL for options that liblzma doesn't have; EFBIG if the memory limit is too low;
// ENOMEM.
XZFS_EXPORT Result<Bytes> Compress(std::span<const std::byte> plain,
                                   const CompressOptions& options = {});

// Decompresses all of `compressed`. Thread-safe. Blocks: on decoding.
// Errors: EIO if it is damaged, ends early or if something else follows it (no part of it is
// returned then); EFBIG if the memory limit is too low; EINVAL for options that liblzma doesn't
// have; ENOMEM.
XZFS_EXPORT Result<Bytes> Decompress(std::span<const std::byte> compressed,
                                     const DecompressOptions& options = {});

// Compresses piece by piece. Not thread-safe; may move between threads. After an error each call
// returns it again.
class Compressor {
 public:
  // Errors: as Compress.
  XZFS_EXPORT static Result<Compressor> Create(const CompressOptions& options = {});
  XZFS_EXPORT ~Compressor();
  XZFS_EXPORT Compressor(Compressor&& other) noexcept;
  XZFS_EXPORT Compressor& operator=(Compressor&& other) noexcept;

  // Takes all of `plain` and returns what comes out meanwhile, which may be nothing. The Stream is
  // what all calls returned, one after another. Errors: EINVAL after Finish; ENOMEM.
  XZFS_EXPORT Result<Bytes> Compress(std::span<const std::byte> plain);
  // Ends the Stream and returns the rest of it. To be called once. Errors: as above.
  XZFS_EXPORT Result<Bytes> Finish();

 private:
  class Impl;
  explicit Compressor(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Decompresses piece by piece. Not thread-safe; may move between threads. After an error each call
// returns it again. A Block's Check is verified at its end: of what was returned before an error
// the last Block may be wrong.
class Decompressor {
 public:
  static constexpr size_t kNoLimit = SIZE_MAX;

  // Errors: EINVAL for options that liblzma doesn't have.
  XZFS_EXPORT static Result<Decompressor> Create(const DecompressOptions& options = {});
  XZFS_EXPORT ~Decompressor();
  XZFS_EXPORT Decompressor(Decompressor&& other) noexcept;
  XZFS_EXPORT Decompressor& operator=(Decompressor&& other) noexcept;

  // Takes all of `compressed` and returns up to `most_bytes` of what it is decompressed to. What
  // is not needed yet is kept: while needs_input() is false an empty `compressed` gives more.
  // Errors: as xzfs::Decompress; EINVAL if eof().
  XZFS_EXPORT Result<Bytes> Decompress(std::span<const std::byte> compressed,
                                       size_t most_bytes = kNoLimit);
  // Says that there is no more input. Errors: EIO if the data ends early; EINVAL if there is output
  // left, which needs_input() says.
  XZFS_EXPORT Status Finish();

  // Whether all was decompressed and verified: with `concatenated` after Finish, else at the end
  // of the first Stream.
  XZFS_EXPORT bool eof() const;
  // Whether Decompress needs more input to give more.
  XZFS_EXPORT bool needs_input() const;
  // What follows the end. Empty until eof().
  XZFS_EXPORT const Bytes& unused_data() const;
  // Of the Stream that is decompressed; kUnknown until its header was read. A Check that
  // IsCheckSupported denies is not verified.
  XZFS_EXPORT Check check() const;

 private:
  class Impl;
  explicit Decompressor(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace xzfs
