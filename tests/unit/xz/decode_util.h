// Decoding of whole Blocks and files, for the tests of this folder.
#pragma once

#include <algorithm>
#include <memory>
#include <random>
#include <span>
#include <string>

#include "base/try.h"
#include "xz/block_decoder.h"
#include "xzfs/block_index.h"

namespace xzfs {

inline constexpr uint64_t kTestMemoryLimit = uint64_t{256} << 20;

inline Result<BlockIndex> ReadIndex(const RandomAccessFile& file, Format format = Format::kXz) {
  return BlockIndex::Read(file, format, BlockIndexOptions());
}

// A step of 1 byte, of a few, or of up to 64 KiB.
inline size_t RandomStep(std::mt19937* random) {
  static constexpr size_t kLargest[] = {1, 9, 300, 5000, 65536};
  return 1 + (*random)() % kLargest[(*random)() % std::size(kLargest)];
}

// All of a Block. In steps from `random`, or of 64 KiB without one. A claimed size is not trusted.
inline Result<std::string> DecodeBlock(const RandomAccessFile& file, const BlockIndex& index,
                                       uint64_t number, std::mt19937* random = nullptr) {
  const BlockInfo block = index.Block(number);
  XZFS_ASSIGN_OR_RETURN(const std::unique_ptr<BlockDecoder> decoder,
                        BlockDecoder::Open(file, index, block, kTestMemoryLimit));
  std::string plain;
  do {
    const size_t step = random != nullptr ? RandomStep(random) : size_t{65536};
    const size_t count =
        static_cast<size_t>(std::min<uint64_t>(step, block.plain_size - plain.size()));
    const size_t before = plain.size();
    plain.resize(before + count);
    XZFS_RETURN_IF_ERROR(
        decoder->Decode(file, std::as_writable_bytes(std::span(plain.data() + before, count))));
    if (decoder->position() != plain.size()) {
      return Fail(EINVAL, "position() is not what was decoded");
    }
  } while (plain.size() < block.plain_size);
  return plain;
}

// All Blocks.
inline Result<std::string> DecodeAll(const RandomAccessFile& file, const BlockIndex& index,
                                     std::mt19937* random = nullptr) {
  std::string plain;
  for (uint64_t number = 0; number < index.block_count(); ++number) {
    XZFS_ASSIGN_OR_RETURN(const std::string block, DecodeBlock(file, index, number, random));
    plain += block;
  }
  return plain;
}

}  // namespace xzfs
