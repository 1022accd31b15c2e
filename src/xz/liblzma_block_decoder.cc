#include "xz/liblzma_block_decoder.h"

#include <lzma.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/try.h"
#include "xz/block_decoder.h"

namespace xzfs {

LiblzmaBlockDecoder::LiblzmaBlockDecoder(const BlockInfo& info, DecoderArena& arena,
                                         CompressedInput input)
    : info_(info), input_(std::move(input)), arena_(arena), stream_(arena) {}

Status LiblzmaBlockDecoder::Start(const RandomAccessFile& file, uint64_t memory_limit_bytes) {
  XZFS_RETURN_IF_ERROR(input_.Fill(file, input_.capacity()));
  XZFS_RETURN_IF_ERROR(DecodeBlockHeader(input_.buffer(), info_, &header_));
  ClampDictionary(info_.plain_size, &header_);
  const uint64_t coder_bytes = lzma_raw_decoder_memusage(header_.filters.get());
  if (coder_bytes == UINT64_MAX) {
    return FailLzma(LZMA_OPTIONS_ERROR, "the Block Header");
  }
  coder_bytes_ = coder_bytes;
  if (memory_bytes() > memory_limit_bytes) {
    return FailMemoryLimit(memory_bytes(), memory_limit_bytes);
  }
  if (!arena_.Prepare(coder_bytes)) {
    return FailLzma(LZMA_MEM_ERROR, "the decoder");
  }
  const lzma_ret ret = lzma_block_decoder(stream_.get(), &header_.block);
  if (ret != LZMA_OK) {
    return FailLzma(ret, "the Block Header");
  }
  input_.Consume(header_.block.header_size);
  return {};
}

Result<StepDecoder::Progress> LiblzmaBlockDecoder::Run(const RandomAccessFile& file,
                                                       std::span<std::byte> out) {
  XZFS_ASSIGN_OR_RETURN(const Progress step, RunCoder(stream_.get(), &input_, file, out));
  if (step.ended && input_.remaining() > 0) {
    return Fail(EIO, "the Block is shorter than the Index says");
  }
  return step;
}

std::array<std::span<std::byte>, 4> LiblzmaBlockDecoder::Pieces() {
  const std::span<std::byte> used = arena_.used();
  const std::span<std::byte> dictionary = arena_.largest();
  const size_t before = static_cast<size_t>(dictionary.data() - used.data());
  return {std::as_writable_bytes(std::span(stream_.get(), 1)),
          std::as_writable_bytes(std::span(&header_.block, 1)), used.first(before),
          used.subspan(before + dictionary.size())};
}

void LiblzmaBlockDecoder::Save(DecoderMark& mark) {
  mark.compressed_position = input_.position();
  for (const std::span<std::byte> piece : Pieces()) {
    mark.coder.insert(mark.coder.end(), piece.begin(), piece.end());
  }
}

std::span<std::byte> LiblzmaBlockDecoder::Restore(const DecoderMark& mark) {
  input_.Seek(mark.compressed_position);
  const std::byte* from = mark.coder.data();
  for (const std::span<std::byte> piece : Pieces()) {
    if (!piece.empty()) {
      std::memcpy(piece.data(), from, piece.size());
    }
    from += piece.size();
  }
  assert(from == mark.coder.data() + mark.coder.size());
  return arena_.largest();
}

void LiblzmaBlockDecoder::FreeMemory() {
  input_.Seek(input_.position());
  arena_.DropLargest();
}

}  // namespace xzfs
