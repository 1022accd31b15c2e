// BlockDecoder::Impl counts the bytes and keeps the state; a StepDecoder decodes: XzBlockDecoder
// here, or LegacyDecoder. When the last byte is out, the coder runs on without output: so it
// verifies the Check, and finds bytes that are too many.
//
// The Block Header and the Index must agree. What the header leaves open is filled in from the
// Index, so liblzma checks both sizes itself. The dictionary is cut to the Block's size, and the
// memory is computed before the coder is made.
//
// A restart point is a copy of liblzma's state byte by byte: the stream, the Block's structure, and
// all of the arena except the dictionary, which the caller copies. This assumes that the coder
// changes nothing outside of these. The copy has pointers in it, so nothing may move: a mark is
// only good for the decoder that made it.
#include "xz/block_decoder.h"

#include <lzma.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "base/try.h"
#include "xz/block_header.h"
#include "xz/format.h"
#include "xz/legacy_decoder.h"
#include "xz/lzma_util.h"

namespace xzfs {

namespace {

// The size of a Block in the stored file, with Block Padding.
uint64_t StoredSize(const BlockInfo& block) { return (block.unpadded_size + 3) & ~uint64_t{3}; }

// Decodes the header from the Block's first bytes, `bytes`, into `*header`, and completes it with
// what the Index says.
Status DecodeHeader(std::span<const uint8_t> bytes, const BlockInfo& info, XzHeader* header) {
  XZFS_RETURN_IF_ERROR(DecodeXzHeader(bytes, info.check, header));
  lzma_block& block = header->block;
  const lzma_ret ret = lzma_block_compressed_size(&block, info.unpadded_size);
  if (ret != LZMA_OK) {
    return Fail(EIO, "the Block Header and the Index do not agree on the compressed size");
  }
  if (block.uncompressed_size != LZMA_VLI_UNKNOWN && block.uncompressed_size != info.plain_size) {
    return Fail(EIO, "the Block Header and the Index do not agree on the plain size");
  }
  block.uncompressed_size = info.plain_size;
  return {};
}

class XzBlockDecoder : public StepDecoder {
 public:
  XzBlockDecoder(const BlockInfo& info, DecoderArena& arena)
      : info_(info),
        input_(info.compressed_offset, StoredSize(info)),
        arena_(arena),
        stream_(arena) {}

  Status Start(const RandomAccessFile& file, uint64_t memory_limit_bytes);
  Result<Progress> Run(const RandomAccessFile& file, std::span<std::byte> out) override;
  uint64_t memory_bytes() const override {
    return sizeof(*this) + input_.capacity() + coder_bytes_;
  }
  std::span<std::byte> dictionary() override { return arena_.largest(); }
  void Save(DecoderMark& mark) override;
  void Restore(const DecoderMark& mark) override;
  void FreeMemory() override;

 private:
  // What a restart point has in addition to the dictionary. The coder refers to all of it by
  // address.
  std::array<std::span<std::byte>, 4> Pieces();

  const BlockInfo info_;
  CompressedInput input_;
  DecoderArena& arena_;
  XzHeader header_;    // stream_'s coder refers to it
  LzmaStream stream_;  // hence destroyed first
  uint64_t coder_bytes_ = 0;
};

Status XzBlockDecoder::Start(const RandomAccessFile& file, uint64_t memory_limit_bytes) {
  XZFS_RETURN_IF_ERROR(input_.Fill(file, input_.capacity()));
  XZFS_RETURN_IF_ERROR(DecodeHeader(input_.buffer(), info_, &header_));
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

Result<StepDecoder::Progress> XzBlockDecoder::Run(const RandomAccessFile& file,
                                                  std::span<std::byte> out) {
  XZFS_ASSIGN_OR_RETURN(const Progress step, RunCoder(stream_.get(), &input_, file, out));
  if (step.ended && input_.remaining() > 0) {
    return Fail(EIO, "the Block is shorter than the Index says");
  }
  return step;
}

std::array<std::span<std::byte>, 4> XzBlockDecoder::Pieces() {
  const std::span<std::byte> used = arena_.used();
  const std::span<std::byte> dictionary = arena_.largest();
  const size_t before = static_cast<size_t>(dictionary.data() - used.data());
  return {std::as_writable_bytes(std::span(stream_.get(), 1)),
          std::as_writable_bytes(std::span(&header_.block, 1)), used.first(before),
          used.subspan(before + dictionary.size())};
}

void XzBlockDecoder::Save(DecoderMark& mark) {
  mark.compressed_position = input_.position();
  for (const std::span<std::byte> piece : Pieces()) {
    mark.coder.insert(mark.coder.end(), piece.begin(), piece.end());
  }
}

void XzBlockDecoder::Restore(const DecoderMark& mark) {
  input_.Seek(mark.compressed_position);
  const std::byte* from = mark.coder.data();
  for (const std::span<std::byte> piece : Pieces()) {
    if (!piece.empty()) {
      std::memcpy(piece.data(), from, piece.size());
    }
    from += piece.size();
  }
  assert(from == mark.coder.data() + mark.coder.size());
}

void XzBlockDecoder::FreeMemory() {
  input_.Seek(input_.position());
  arena_.DropLargest();
}

LegacyDecoder::Options LegacyOptions(const BlockIndex& index, const BlockInfo& block,
                                     uint64_t memory_limit_bytes) {
  LegacyDecoder::Options options;
  options.format = index.format();
  options.offset = block.compressed_offset;
  options.size = block.unpadded_size;
  options.largest_plain_bytes = block.plain_size;
  options.memory_limit_bytes = memory_limit_bytes;
  // The next member begins right behind any other Block.
  options.trailing_data_allowed = block.number + 1 == index.block_count();
  options.one_member = index.stream_count() == index.block_count();
  return options;
}

Result<std::unique_ptr<StepDecoder>> StartDecoder(const RandomAccessFile& file,
                                                  const BlockIndex& index, const BlockInfo& block,
                                                  uint64_t memory_limit_bytes,
                                                  DecoderArena& arena) {
  if (index.format() == Format::kXz) {
    auto decoder = std::make_unique<XzBlockDecoder>(block, arena);
    XZFS_RETURN_IF_ERROR(decoder->Start(file, memory_limit_bytes));
    return decoder;
  }
  auto decoder = std::make_unique<LegacyDecoder>(LegacyOptions(index, block, memory_limit_bytes));
  XZFS_RETURN_IF_ERROR(decoder->Start(file));
  return decoder;
}

// Reads the first bytes of `block` into `buffer`, as many as fit.
Result<std::span<const uint8_t>> ReadHead(const RandomAccessFile& file, uint64_t block_bytes,
                                          uint64_t offset, std::span<uint8_t> buffer) {
  const std::span<uint8_t> head =
      buffer.first(static_cast<size_t>(std::min<uint64_t>(buffer.size(), block_bytes)));
  XZFS_RETURN_IF_ERROR(ReadFully(file, offset, std::as_writable_bytes(head)));
  return head;
}

// Reads and decodes the header of a .xz Block.
Status ReadHeader(const RandomAccessFile& file, const BlockInfo& block, XzHeader* header) {
  std::array<uint8_t, LZMA_BLOCK_HEADER_SIZE_MAX> buffer;
  XZFS_ASSIGN_OR_RETURN(const std::span<const uint8_t> head,
                        ReadHead(file, StoredSize(block), block.compressed_offset, buffer));
  return DecodeHeader(head, block, header);
}

}  // namespace

class BlockDecoder::Impl {
 public:
  Impl(std::unique_ptr<DecoderArena> arena, std::unique_ptr<StepDecoder> decoder,
       uint64_t plain_size)
      : arena_(std::move(arena)), decoder_(std::move(decoder)), plain_size_(plain_size) {}

  Status Decode(const RandomAccessFile& file, std::span<std::byte> out);
  uint64_t position() const { return position_; }
  uint64_t memory_bytes() const {
    return sizeof(BlockDecoder) + sizeof(*this) + (decoder_ ? decoder_->memory_bytes() : 0);
  }
  std::span<std::byte> dictionary() { return decoder_->dictionary(); }
  DecoderMark Mark();
  void Restore(const DecoderMark& mark);
  void FreeMemory() { decoder_->FreeMemory(); }
  std::unique_ptr<DecoderArena> TakeArena() {
    decoder_.reset();
    return std::move(arena_);
  }

 private:
  Status Step(const RandomAccessFile& file, std::span<std::byte> out);

  std::unique_ptr<DecoderArena> arena_;
  std::unique_ptr<StepDecoder> decoder_;
  const uint64_t plain_size_;
  uint64_t position_ = 0;
  bool ended_ = false;  // and the Check was right
  bool failed_ = false;
};

Status BlockDecoder::Impl::Decode(const RandomAccessFile& file, std::span<std::byte> out) {
  assert(out.size() <= plain_size_ - position_);
  if (failed_) {
    return Fail(EIO, "decoding this Block failed before");
  }
  if (ended_) {
    return {};
  }
  Status status = Step(file, out);
  failed_ = !status;
  return status;
}

DecoderMark BlockDecoder::Impl::Mark() {
  assert(!failed_);
  DecoderMark mark;
  mark.position = position_;
  decoder_->Save(mark);
  return mark;
}

void BlockDecoder::Impl::Restore(const DecoderMark& mark) {
  decoder_->Restore(mark);
  position_ = mark.position;
  ended_ = false;  // if the mark is of the end, the coder says so again
  failed_ = false;
}

Status BlockDecoder::Impl::Step(const RandomAccessFile& file, std::span<std::byte> out) {
  StepDecoder::Progress step;
  if (!out.empty()) {
    XZFS_ASSIGN_OR_RETURN(step, decoder_->Run(file, out));
    position_ += step.produced;
    if (step.produced < out.size()) {
      return Fail(EIO, "the compressed data gives fewer bytes than its recorded size");
    }
  }
  if (position_ == plain_size_) {
    if (!step.ended) {
      XZFS_RETURN_IF_ERROR(decoder_->Run(file, {}));
    }
    ended_ = true;
  }
  return {};
}

BlockDecoder::BlockDecoder(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

BlockDecoder::~BlockDecoder() = default;

Result<std::unique_ptr<BlockDecoder>> BlockDecoder::Open(const RandomAccessFile& file,
                                                         const BlockIndex& index,
                                                         const BlockInfo& block,
                                                         uint64_t memory_limit_bytes,
                                                         std::unique_ptr<DecoderArena> arena) try {
  constexpr uint64_t kOwnBytes = sizeof(BlockDecoder) + sizeof(Impl);
  if (memory_limit_bytes < kOwnBytes) {
    return FailMemoryLimit(kOwnBytes, memory_limit_bytes);
  }
  if (arena == nullptr) {
    arena = std::make_unique<DecoderArena>();
  }
  XZFS_ASSIGN_OR_RETURN(std::unique_ptr<StepDecoder> decoder,
                        StartDecoder(file, index, block, memory_limit_bytes - kOwnBytes, *arena));
  auto impl = std::make_unique<Impl>(std::move(arena), std::move(decoder), block.plain_size);
  return std::unique_ptr<BlockDecoder>(new BlockDecoder(std::move(impl)));
} catch (const std::bad_alloc&) {
  return Fail(ENOMEM, "out of memory while preparing a decoder");
}

Status BlockDecoder::Decode(const RandomAccessFile& file, std::span<std::byte> out) {
  return impl_->Decode(file, out);
}

std::span<std::byte> BlockDecoder::dictionary() { return impl_->dictionary(); }

DecoderMark BlockDecoder::Mark() const { return impl_->Mark(); }

void BlockDecoder::Restore(const DecoderMark& mark) { impl_->Restore(mark); }

void BlockDecoder::FreeMemory() { impl_->FreeMemory(); }

uint64_t BlockDecoder::position() const { return impl_->position(); }

uint64_t BlockDecoder::memory_bytes() const { return impl_->memory_bytes(); }

std::unique_ptr<DecoderArena> BlockDecoder::TakeArena() { return impl_->TakeArena(); }

Result<uint64_t> BlockDecoderMemory(const RandomAccessFile& file, const BlockIndex& index,
                                    const BlockInfo& block) {
  // The size of BlockDecoder itself, rounded up.
  constexpr uint64_t kOwnBytes = 256;
  if (index.format() != Format::kXz) {
    std::array<uint8_t, kFormatProbeBytes> buffer;
    XZFS_ASSIGN_OR_RETURN(const std::span<const uint8_t> head,
                          ReadHead(file, block.unpadded_size, block.compressed_offset, buffer));
    const bool many_members = index.stream_count() > index.block_count();
    return kOwnBytes +
           LegacyDecoder::MemoryFor(LegacyOptions(index, block, UINT64_MAX), head, many_members);
  }
  XzHeader header;
  XZFS_RETURN_IF_ERROR(ReadHeader(file, block, &header));
  ClampDictionary(block.plain_size, &header);
  const uint64_t coder_bytes = lzma_raw_decoder_memusage(header.filters.get());
  if (coder_bytes == UINT64_MAX) {
    return FailLzma(LZMA_OPTIONS_ERROR, "the Block Header");
  }
  return kOwnBytes + sizeof(XzBlockDecoder) +
         std::min<uint64_t>(StoredSize(block), kDecoderInputBytes) + coder_bytes;
}

Result<std::string> DescribeFilters(const RandomAccessFile& file, const BlockIndex& index,
                                    const BlockInfo& block) {
  if (index.format() != Format::kXz) {
    return "lzma1";
  }
  XzHeader header;
  XZFS_RETURN_IF_ERROR(ReadHeader(file, block, &header));
  char* text = nullptr;
  const lzma_ret ret =
      lzma_str_from_filters(&text, header.filters.get(), LZMA_STR_DECODER, nullptr);
  if (ret != LZMA_OK) {
    return FailLzma(ret, "the Block Header");
  }
  const std::unique_ptr<char, decltype(&std::free)> owner(text, &std::free);
  return std::string(text);
}

}  // namespace xzfs
