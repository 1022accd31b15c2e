// Decompresses bytes that come piece by piece.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "xz/lzma_util.h"
#include "xzfs/check.h"
#include "xzfs/compress.h"
#include "xzfs/result.h"

namespace xzfs {

// Not thread-safe. After an error it is of no further use.
class StreamDecoder {
 public:
  explicit StreamDecoder(const DecompressOptions& options);

  // To be called first. Errors: as Decompressor::Create.
  Status Start(const DecompressOptions& options);
  // Takes `compressed` until all of it is taken, `out` is full or the end is reached.
  // Errors: as Decompressor.
  Result<Coded> Run(std::span<const std::byte> compressed, std::span<std::byte> out);
  // Says that there is no more input. Errors: kDamaged if the data ends early. REQUIRES:
  // !has_output().
  Status Finish();

  // As Decompressor's.
  bool eof() const { return eof_; }
  // There may be more output without more input.
  bool has_output() const { return has_output_; }
  std::optional<Check> check() const { return check_; }

 private:
  Status StartRaw(const DecompressOptions& options);
  Result<Coded> Code(std::span<const std::byte> compressed, std::span<std::byte> out,
                     lzma_action action);
  Failure<> FailDecoding(lzma_ret ret);

  const bool concatenated_;
  const uint64_t memory_limit_bytes_;
  LzmaStream stream_;
  bool has_output_ = false;
  bool eof_ = false;
  std::optional<Check> check_;
};

}  // namespace xzfs
