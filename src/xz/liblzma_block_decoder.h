// Decodes a .xz Block with liblzma.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "xz/block_header.h"
#include "xz/decoder_arena.h"
#include "xz/lzma_util.h"
#include "xzfs/block_index.h"

namespace xzfs {

// Takes every Block that liblzma takes. Not thread-safe.
//
// A restart point is a copy of liblzma's state byte by byte: the stream, the Block's structure, and
// all of the arena; the largest piece of it, the dictionary, is the history. This assumes that the
// coder changes nothing outside of these. The copy has pointers in it, so nothing may move: a mark
// is only good for the decoder that made it.
class LiblzmaBlockDecoder : public StepDecoder {
 public:
  // `arena` outlives it. `input` stands at the Block's first byte.
  LiblzmaBlockDecoder(const BlockInfo& info, DecoderArena& arena, CompressedInput input);

  // Reads the header. Call it before Run. Errors: as BlockDecoder::Open.
  Status Start(const RandomAccessFile& file, uint64_t memory_limit_bytes);
  Result<Progress> Run(const RandomAccessFile& file, std::span<std::byte> out) override;
  uint64_t memory_bytes() const override {
    return sizeof(*this) + input_.capacity() + coder_bytes_;
  }
  size_t most_history_bytes() override { return arena_.largest().size(); }
  HistoryPieces history() override { return {arena_.largest(), {}}; }
  void Save(DecoderMark& mark) override;
  std::span<std::byte> Restore(const DecoderMark& mark) override;
  void FreeMemory() override;

 private:
  // What a restart point has in addition to the history. The coder refers to all of it by address.
  std::array<std::span<std::byte>, 4> Pieces();

  const BlockInfo info_;
  CompressedInput input_;
  DecoderArena& arena_;
  XzHeader header_;    // stream_'s coder refers to it
  LzmaStream stream_;  // hence destroyed first
  uint64_t coder_bytes_ = 0;
};

}  // namespace xzfs
