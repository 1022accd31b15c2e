// Compresses bytes that come piece by piece to one Stream.
#pragma once

#include <cstddef>
#include <span>

#include "xz/lzma_util.h"
#include "xzfs/compress.h"
#include "xzfs/result.h"

namespace xzfs {

// Not thread-safe. After an error it is of no further use.
class StreamEncoder {
 public:
  // To be called first. Errors: as Compressor::Create.
  Status Start(const CompressOptions& options);
  // Takes `plain` until all of it is taken or `out` is full.
  Result<Coded> Run(std::span<const std::byte> plain, std::span<std::byte> out);
  // Puts the rest of the Stream into `out`. Call it until ended().
  Result<Coded> Finish(std::span<std::byte> out);
  bool ended() const { return ended_; }

 private:
  Result<Coded> Code(std::span<const std::byte> plain, std::span<std::byte> out,
                     lzma_action action);

  LzmaStream stream_;
  bool ended_ = false;
};

}  // namespace xzfs
