// Compresses and decompresses bytes: in memory, piece by piece, or from a source to a sink.
#pragma once

#if __cplusplus < 202002L
#error "xzfs needs C++20: compile with -std=c++20 or later"
#endif

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "xzfs/byte_string.h"
#include "xzfs/check.h"
#include "xzfs/export.h"
#include "xzfs/filter.h"
#include "xzfs/format.h"
#include "xzfs/result.h"
#include "xzfs/source_sink.h"

namespace xzfs {

struct CompressOptions {
  Format format = Format::kXz;
  unsigned preset = 6;   // 0..9 as xz: more compresses smaller, slower and with more memory
  bool extreme = false;  // xz's -e: slower; usually only slightly smaller
  // Unset: CRC64 for kXz. The other formats have no Check: anything except kNone is kInvalid there.
  std::optional<Check> check = {};
  // Empty: one LZMA filter as the preset says. Otherwise the whole chain; preset and extreme are
  // ignored then. kRaw needs a chain. kLzmaAlone takes one Lzma1.
  std::vector<Filter> filters = {};
  // The most that the encoder may allocate, in bytes. Unset: what it needs (94 MiB with preset 6).
  std::optional<uint64_t> memory_limit_bytes = {};
};

struct DecompressOptions {
  Format format = Format::kAuto;
  // The most that the decoder may allocate, in bytes. Unset: what the data asks for, up to 4 GiB.
  std::optional<uint64_t> memory_limit_bytes = {};
  // For kRaw only: the chain with which it was compressed.
  std::vector<Filter> filters = {};
  // Decompresses all Streams that follow one another, with the Stream Padding between and behind
  // them, as xz does; .lz: all members. False: decompresses the first one, and says what is left.
  // Has no effect for kRaw and kLzmaAlone, which can't be told from what follows them.
  bool concatenated = true;
};

// Compresses `plain` to one Stream. Thread-safe. Blocks: on encoding.
// Errors: kInvalid for options that liblzma doesn't have; kOverLimit if the memory limit is too
// low; ENOMEM.
XZFS_EXPORT Result<Bytes> Compress(std::span<const std::byte> plain,
                                   const CompressOptions& options = {});
XZFS_EXPORT Result<Bytes> Compress(std::string_view plain, const CompressOptions& options = {});

// Decompresses all of `compressed`. Thread-safe. Blocks: on decoding.
// Errors: kDamaged if it is damaged, ends early or if something else follows it (no part of it is
// returned then); kUnsupported; kOverLimit if the memory limit is too low; kInvalid for options
// that liblzma doesn't have; ENOMEM.
XZFS_EXPORT Result<Bytes> Decompress(std::span<const std::byte> compressed,
                                     const DecompressOptions& options = {});

// The same from a source to a sink, with a buffer of 64 KiB for each, whatever the size is. The
// sink has a part of the result if there is an error. Blocks: on coding, the source and the sink.
// Errors: as above; what source and sink say.
XZFS_EXPORT Status CompressStream(const Source& plain, const Sink& compressed,
                                  const CompressOptions& options = {});
XZFS_EXPORT Status DecompressStream(const Source& compressed, const Sink& plain,
                                    const DecompressOptions& options = {});

// What one call with a buffer did: how many bytes it took from the beginning of the input, and how
// many it put into the buffer.
struct Coded {
  size_t consumed = 0;
  size_t produced = 0;
};

// Compresses piece by piece: into buffers of the caller, or into byte strings. Not thread-safe; may
// move between threads. After an error each call returns it again.
class Compressor {
 public:
  // Errors: as xzfs::Compress.
  XZFS_EXPORT static Result<Compressor> Create(const CompressOptions& options = {});
  XZFS_EXPORT ~Compressor();
  XZFS_EXPORT Compressor(Compressor&& other) noexcept;
  XZFS_EXPORT Compressor& operator=(Compressor&& other) noexcept;

  // Takes `plain` until all of it is taken or `out` is full. The Stream is what all calls put out,
  // one after another. Errors: kInvalid after Finish.
  XZFS_EXPORT Result<Coded> Compress(std::span<const std::byte> plain, std::span<std::byte> out);
  // Ends the Stream: puts the rest of it into `out` and returns how many bytes that is. To be
  // called until finished(). Errors: kInvalid after that.
  XZFS_EXPORT Result<size_t> Finish(std::span<std::byte> out);
  // The Stream is complete.
  XZFS_EXPORT bool finished() const;

  // Takes all of `plain` and returns the output so far, which may be empty. Errors: as
  // above; ENOMEM.
  XZFS_EXPORT Result<Bytes> Compress(std::span<const std::byte> plain);
  XZFS_EXPORT Result<Bytes> Compress(std::string_view plain);
  // Ends the Stream and returns the rest of it. To be called once. Errors: as above; ENOMEM.
  XZFS_EXPORT Result<Bytes> Finish();

 private:
  class Impl;
  explicit Compressor(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Decompresses piece by piece: into buffers of the caller, or into byte strings. Not thread-safe;
// may move between threads. After an error each call returns it again. A Block's Check is verified
// at its end: if there is an error, what was put out of the last Block may be wrong.
class Decompressor {
 public:
  static constexpr size_t kNoLimit = SIZE_MAX;

  // Errors: kInvalid for options that liblzma doesn't have.
  XZFS_EXPORT static Result<Decompressor> Create(const DecompressOptions& options = {});
  XZFS_EXPORT ~Decompressor();
  XZFS_EXPORT Decompressor(Decompressor&& other) noexcept;
  XZFS_EXPORT Decompressor& operator=(Decompressor&& other) noexcept;

  // Takes `compressed` until all of it is taken, `out` is full or the end is reached. While
  // needs_input() is false a call may give more without more input. Errors: as xzfs::Decompress;
  // kInvalid if eof(), or if the call below has kept input.
  XZFS_EXPORT Result<Coded> Decompress(std::span<const std::byte> compressed,
                                       std::span<std::byte> out);

  // Takes all of `compressed` and returns up to `most_bytes` decompressed bytes. Input that is not
  // needed yet is kept: while needs_input() is false an empty `compressed` gives more.
  // Errors: as above; ENOMEM.
  XZFS_EXPORT Result<Bytes> Decompress(std::span<const std::byte> compressed,
                                       size_t most_bytes = kNoLimit);

  // Says that there is no more input. Errors: kDamaged if the data ends early; kInvalid if there is
  // output left; needs_input() is false then.
  XZFS_EXPORT Status Finish();

  // Whether all was decompressed and verified: with `concatenated` after Finish, else at the end
  // of the first Stream.
  XZFS_EXPORT bool eof() const;
  // Whether Decompress needs more input to give more.
  XZFS_EXPORT bool needs_input() const;
  // The input that followed the end, if a call without a buffer took it. Empty until eof(), and
  // always if only calls with a buffer were made.
  XZFS_EXPORT const Bytes& unused_data() const;
  // The Check of the Stream that is being decompressed; unset until its header was read. A Check
  // that IsCheckSupported denies is not verified.
  XZFS_EXPORT std::optional<Check> check() const;

 private:
  class Impl;
  explicit Decompressor(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace xzfs
