// The Block's stored bytes pass through CompressedInput, which holds 128 KiB: a chunk of LZMA2 has
// 64 KiB at most. Lzma2Decoder takes them and adds to the output. At the end marker the Block
// Padding and the Check are verified.
//
// A symbol is never cut in two, so the decoder may have *decoded* up to 272 bytes more than it has
// *given*. They are the last of the output, and are given first the next time. The Check is that of
// what was given, so that it says whether liblzma gives the same bytes up to there.
//
// The window is a ring. When less than a symbol fits in behind the last byte, decoding goes on at
// its begin, and what was there is `older` output. It is overwritten from the front, but only where
// it's farther back than the dictionary is large: see Lzma2Decoder::kRingSlack. If all of the Block
// fits in, it never goes round.
#include "xz/lzma2_block_decoder.h"

#include <lzma.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "base/try.h"
#include "xz/block_decoder.h"

namespace xzfs {

namespace {

static_assert(CompressedInput::kInputSlack >= Lzma2Decoder::kInputSlack);
static_assert(kDecoderInputBytes >= Lzma2Decoder::kChunkBytes);

const lzma_options_lzma& OptionsOf(const XzHeader& header) {
  return *static_cast<const lzma_options_lzma*>(header.block.filters[0].options);
}

uint64_t DictionaryBytes(uint64_t plain_size, uint64_t dictionary_size) {
  return std::min(plain_size, RoundUpDictionary(dictionary_size));
}

// Room for the dictionary and for the symbol that comes next, or for all of the Block.
uint64_t WindowFor(uint64_t plain_size, uint64_t dictionary_bytes) {
  return std::min(plain_size, dictionary_bytes + Lzma2Decoder::kRingSlack);
}

// What a mark holds in addition to the decoder's state.
struct MarkHead {
  uint64_t decoded;
  uint64_t check;
  uint64_t compressed_left;
  uint64_t ended;  // 0 or 1
};

}  // namespace

bool Lzma2BlockDecoder::Takes(const XzHeader& header) {
  const lzma_filter* const chain = header.block.filters;
  return BlockCheck::Has(static_cast<Check>(header.block.check)) &&
         chain[0].id == LZMA_FILTER_LZMA2 && chain[1].id == LZMA_VLI_UNKNOWN;
}

uint64_t Lzma2BlockDecoder::WindowBytes(const XzHeader& header, const BlockInfo& block) {
  return WindowFor(block.plain_size,
                   DictionaryBytes(block.plain_size, OptionsOf(header).dict_size));
}

Lzma2BlockDecoder::Lzma2BlockDecoder(const BlockInfo& info, Lzma2Code code, DecoderArena& arena,
                                     CompressedInput input)
    : info_(info), arena_(arena), input_(std::move(input)), check_(info.check), decoder_(code) {}

Lzma2BlockDecoder::~Lzma2BlockDecoder() { DecoderArena::Free(&arena_, window_.data()); }

Status Lzma2BlockDecoder::Start(const XzHeader& header, uint64_t memory_limit_bytes) {
  const lzma_block& block = header.block;
  const uint32_t dictionary_size = OptionsOf(header).dict_size;
  const uint64_t needed = memory_bytes() + WindowBytes(header, info_);
  if (needed > memory_limit_bytes) {
    return FailMemoryLimit(needed, memory_limit_bytes);
  }
  dictionary_bytes_ = DictionaryBytes(info_.plain_size, dictionary_size);
  compressed_left_ = block.compressed_size;
  input_.Consume(block.header_size);
  decoder_.Start(dictionary_size);
  return {};
}

uint64_t Lzma2BlockDecoder::memory_bytes() const {
  return sizeof(*this) + input_.capacity() + window_.size();
}

// Decodes until out_.next is at `wanted` or somewhat behind it; at the Block's end until all is
// verified.
Status Lzma2BlockDecoder::DecodeTo(const RandomAccessFile& file, const uint8_t* wanted) {
  for (;;) {
    const std::span<uint8_t> buffer = input_.buffer();
    const size_t usable = static_cast<size_t>(std::min<uint64_t>(buffer.size(), compressed_left_));
    std::span<const uint8_t> in = buffer.first(usable);
    const uint8_t* const before = out_.next;
    const Lzma2Decoder::Stop stop = decoder_.Run(in, out_, wanted);
    input_.Consume(usable - in.size());
    compressed_left_ -= usable - in.size();
    decoded_ += static_cast<size_t>(out_.next - before);
    switch (stop) {
      case Lzma2Decoder::Stop::kWanted:
        return {};
      case Lzma2Decoder::Stop::kEnd:
        return End(file);
      case Lzma2Decoder::Stop::kDamage:
        return Fail(EIO, "the compressed data is damaged");
      case Lzma2Decoder::Stop::kInput:
        if (in.size() == compressed_left_) {
          return Fail(EIO, "the compressed data ends early");
        }
        XZFS_RETURN_IF_ERROR(input_.Fill(file, input_.capacity()));
    }
  }
}

// Verifies what follows the data: Block Padding and the Check.
Status Lzma2BlockDecoder::End(const RandomAccessFile& file) {
  const size_t tail_bytes = static_cast<size_t>(input_.remaining());
  const size_t check_bytes = check_.stored_bytes();
  if (compressed_left_ != 0 || decoded_ != info_.plain_size || tail_bytes < check_bytes) {
    return Fail(EIO, "the compressed data gives fewer bytes than its recorded size");
  }
  XZFS_RETURN_IF_ERROR(input_.Fill(file, tail_bytes));
  const std::span<const uint8_t> tail = input_.buffer();
  const std::span<const uint8_t> padding = tail.first(tail_bytes - check_bytes);
  if (std::any_of(padding.begin(), padding.end(), [](uint8_t byte) { return byte != 0; })) {
    return Fail(EIO, "the Block Padding is damaged");
  }
  const auto pending = static_cast<size_t>(decoded_ - given_);
  BlockCheck check = check_;
  check.Add(std::as_bytes(std::span<const uint8_t>(out_.next - pending, pending)));
  if (!check.Matches(tail.last(check_bytes).data())) {
    return Fail(EIO, "the Check does not match");
  }
  ended_ = true;
  return {};
}

// Counts `bytes` as given.
void Lzma2BlockDecoder::Give(std::span<const uint8_t> bytes) {
  given_ += bytes.size();
  if (!ended_) {  // otherwise End has counted them
    check_.Add(std::as_bytes(bytes));
  }
}

Result<StepDecoder::Progress> Lzma2BlockDecoder::RunInto(const RandomAccessFile& file,
                                                         std::span<std::byte> block, size_t done,
                                                         size_t end) {
  auto* const begin = reinterpret_cast<uint8_t*>(block.data());
  out_ = {begin, begin + decoded_, begin + block.size(), {}};
  if (decoded_ < end || end == block.size()) {
    XZFS_RETURN_IF_ERROR(DecodeTo(file, begin + end));
  }
  Give({begin + done, end - done});
  return Progress{end - done, ended_};
}

Result<StepDecoder::Progress> Lzma2BlockDecoder::Run(const RandomAccessFile& file,
                                                     std::span<std::byte> out) {
  if (decoded_ == 0 && window_.empty() && out.size() == info_.plain_size) {
    return RunInto(file, out, 0, out.size());
  }
  if (out.empty()) {
    if (!ended_) {
      out_.end = out_.next;
      XZFS_RETURN_IF_ERROR(DecodeTo(file, out_.end));
    }
    return Progress{0, ended_};
  }
  AllocateWindow();
  size_t produced = 0;
  while (produced < out.size()) {
    if (given_ == decoded_) {
      XZFS_RETURN_IF_ERROR(DecodeTo(file, MakeRoom(out.size() - produced)));
    }
    const auto ready = static_cast<size_t>(decoded_ - given_);
    const size_t count = std::min(ready, out.size() - produced);
    if (count == 0) {
      return Progress{produced, ended_};
    }
    std::memcpy(out.data() + produced, out_.next - ready, count);
    Give({out_.next - ready, count});
    produced += count;
  }
  return Progress{produced, ended_};
}

void Lzma2BlockDecoder::AllocateWindow() {
  if (!window_.empty()) {
    return;
  }
  const size_t bytes = WindowFor(info_.plain_size, dictionary_bytes_);
  if (bytes == 0) {
    return;
  }
  void* const memory = arena_.Prepare(bytes) ? DecoderArena::Allocate(&arena_, 1, bytes) : nullptr;
  if (memory == nullptr) {
    throw std::bad_alloc();
  }
  window_ = {static_cast<uint8_t*>(memory), bytes};
  out_ = {window_.data(), window_.data(), window_.data() + bytes, {}};
}

// Makes room in the window for `count` new bytes if the Block has so many, or for some of them.
// Returns where they should end. REQUIRES: all that was decoded was given.
uint8_t* Lzma2BlockDecoder::MakeRoom(size_t count) {
  const uint64_t left = info_.plain_size - decoded_;
  const auto room = [this] {
    return static_cast<size_t>(window_.data() + window_.size() - out_.next);
  };
  // If the Block does not end in the window, the last symbol may need more room than is wanted.
  if (room() < left && room() <= Lzma2Decoder::kLongestSymbol) {
    out_.older = window_.first(static_cast<size_t>(out_.next - window_.data()));
    out_.begin = window_.data();
    out_.next = window_.data();
  }
  if (room() >= left) {
    out_.end = out_.next + left;
    return out_.next + std::min<uint64_t>(count, left);
  }
  out_.end = window_.data() + window_.size();
  return out_.next + std::min(count, room() - Lzma2Decoder::kLongestSymbol);
}

HistoryPieces Lzma2BlockDecoder::history() {
  const size_t kept = std::min<uint64_t>(decoded_, dictionary_bytes_);
  const size_t newer = std::min(kept, static_cast<size_t>(out_.next - out_.begin));
  return {std::as_bytes(out_.older.last(kept - newer)),
          std::as_bytes(std::span<const uint8_t>(out_.next - newer, newer))};
}

void Lzma2BlockDecoder::Save(DecoderMark& mark) {
  mark.compressed_position = input_.position();
  const MarkHead head = {decoded_, check_.value(), compressed_left_, ended_ ? 1U : 0U};
  mark.coder.resize(sizeof(head) + decoder_.state().used_bytes());
  std::memcpy(mark.coder.data(), &head, sizeof(head));
  std::memcpy(mark.coder.data() + sizeof(head), &decoder_.state(), decoder_.state().used_bytes());
}

std::span<std::byte> Lzma2BlockDecoder::Restore(const DecoderMark& mark) {
  MarkHead head;
  assert(mark.coder.size() > sizeof(head));
  std::memcpy(&head, mark.coder.data(), sizeof(head));
  decoded_ = head.decoded;
  given_ = mark.position;
  check_.set_value(head.check);
  compressed_left_ = head.compressed_left;
  ended_ = head.ended != 0;
  Lzma2State state;
  std::memcpy(static_cast<void*>(&state), mark.coder.data() + sizeof(head),
              mark.coder.size() - sizeof(head));
  decoder_.set_state(state);
  input_.Seek(mark.compressed_position);
  AllocateWindow();
  const size_t kept = std::min<uint64_t>(decoded_, dictionary_bytes_);
  out_ = {window_.data(), window_.data() + kept, window_.data() + window_.size(), {}};
  return std::as_writable_bytes(window_.first(kept));
}

void Lzma2BlockDecoder::FreeMemory() {
  input_.Seek(input_.position());
  if (!window_.empty()) {
    arena_.DropLargest();
  }
}

}  // namespace xzfs
