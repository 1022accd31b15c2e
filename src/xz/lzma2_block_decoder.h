// Decodes a .xz Block with our own decoder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "xz/block_check.h"
#include "xz/block_header.h"
#include "xz/decoder_arena.h"
#include "xz/lzma2_decoder.h"
#include "xz/lzma_util.h"
#include "xzfs/block_index.h"

namespace xzfs {

// Takes the Blocks that nearly all files consist of: LZMA2 without other filters, with a Check that
// we compute. A Block without a Check has nothing that would prove our decoder right. Not
// thread-safe.
//
// Where all of the Block goes to one piece of memory, that is the dictionary. Otherwise it decodes
// into a window of its own, a ring somewhat larger than the dictionary, and copies out of it.
//
// A restart point is the decoder's state and the part of the window that counts as dictionary.
class Lzma2BlockDecoder : public StepDecoder {
 public:
  // Whether it decodes Blocks with this header.
  static bool Takes(const XzHeader& header);

  // `code` decodes, see Lzma2Decoder. `arena` outlives it; the window lies there. `input` stands at
  // the Block's first byte.
  Lzma2BlockDecoder(const BlockInfo& info, Lzma2Code code, DecoderArena& arena,
                    CompressedInput input);
  ~Lzma2BlockDecoder() override;

  // Starts at the first byte of the data. Call it before Run. Errors: EFBIG if it would take more
  // than the limit. REQUIRES: Takes(header); DecodeBlockHeader made it.
  Status Start(const XzHeader& header, uint64_t memory_limit_bytes);
  Result<Progress> Run(const RandomAccessFile& file, std::span<std::byte> out) override;
  Result<Progress> RunInto(const RandomAccessFile& file, std::span<std::byte> block, size_t done,
                           size_t end) override;
  uint64_t memory_bytes() const override;
  size_t most_history_bytes() override { return dictionary_bytes_; }
  HistoryPieces history() override;
  void Save(DecoderMark& mark) override;
  std::span<std::byte> Restore(const DecoderMark& mark) override;
  void FreeMemory() override;

  // The Check of the bytes that it has given; any number after the Block's end.
  uint64_t check_of_given() const { return check_.value(); }

  // What the window for a Block with that header takes.
  static uint64_t WindowBytes(const XzHeader& header, const BlockInfo& block);

 private:
  Status DecodeTo(const RandomAccessFile& file, const uint8_t* wanted);
  void Give(std::span<const uint8_t> bytes);
  Status End(const RandomAccessFile& file);
  void AllocateWindow();
  uint8_t* MakeRoom(size_t count);

  const BlockInfo info_;
  DecoderArena& arena_;
  CompressedInput input_;
  BlockCheck check_;              // of what was given
  uint64_t compressed_left_ = 0;  // bytes of LZMA2 data
  size_t dictionary_bytes_ = 0;   // no more than the Block has
  uint64_t decoded_ = 0;          // plain bytes
  uint64_t given_ = 0;            // of these; the others are the last of the output
  bool ended_ = false;            // all is decoded and verified
  std::span<uint8_t> window_;     // empty until it is needed
  Lzma2Output out_ = {};          // the window, or the memory of RunInto
  Lzma2Decoder decoder_;
};

}  // namespace xzfs
