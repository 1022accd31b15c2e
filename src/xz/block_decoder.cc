// BlockDecoder::Impl counts the bytes and keeps the state; a StepDecoder decodes:
// Lzma2BlockDecoder, which is ours, LiblzmaBlockDecoder or LegacyDecoder. When the last byte is
// out, the coder runs on without output: so it verifies the Check, and finds bytes that are too
// many.
//
// The Block Header and the Index must agree. What the header leaves open is filled in from the
// Index, so both sizes are verified. The dictionary is cut to the Block's size, and the memory is
// computed before the coder is made.
//
// If ours says that a Block is damaged, liblzma decodes it from the start. The Check of what was
// given before says whether both give the same bytes. If so, that decoder goes on in the place of
// ours until a restart point is put back.
#include "xz/block_decoder.h"

#include <lzma.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstdlib>
#include <functional>
#include <new>
#include <string_view>
#include <utility>

#include "base/try.h"
#include "xz/block_header.h"
#include "xz/format.h"
#include "xz/legacy_decoder.h"
#include "xz/liblzma_block_decoder.h"
#include "xz/lzma2_block_decoder.h"
#include "xz/lzma_util.h"

namespace xzfs {

namespace {

// What the environment says about decoders.
enum class Choice { kOurs, kOursPortable, kLiblzma };

Choice ChoiceOfEnvironment() {
  static const Choice choice = [] {
    const char* const value = std::getenv("XZFS_DECODER");
    const std::string_view name = value != nullptr ? value : "";
    return name == "liblzma"    ? Choice::kLiblzma
           : name == "portable" ? Choice::kOursPortable
                                : Choice::kOurs;
  }();
  return choice;
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

// The decoder of a Block, ready to run.
struct Started {
  std::unique_ptr<StepDecoder> decoder;
  Lzma2BlockDecoder* ours = nullptr;  // the same, if it is ours
};

Result<Started> StartLegacy(const RandomAccessFile& file, const BlockIndex& index,
                            const BlockInfo& block, uint64_t memory_limit_bytes) {
  auto decoder = std::make_unique<LegacyDecoder>(LegacyOptions(index, block, memory_limit_bytes));
  XZFS_RETURN_IF_ERROR(decoder->Start(file));
  return Started{.decoder = std::move(decoder)};
}

Result<Started> StartXz(const RandomAccessFile& file, const BlockInfo& block, Choice choice,
                        uint64_t memory_limit_bytes, DecoderArena& arena) {
  CompressedInput input(block.compressed_offset, StoredSize(block));
  XZFS_RETURN_IF_ERROR(input.Fill(file, input.capacity()));
  if (choice != Choice::kLiblzma) {
    XzHeader header;
    XZFS_RETURN_IF_ERROR(DecodeBlockHeader(input.buffer(), block, &header));
    if (Lzma2BlockDecoder::Takes(header)) {
      const Lzma2Code code =
          choice == Choice::kOursPortable ? Lzma2Code::kPortable : BestLzma2Code();
      auto decoder = std::make_unique<Lzma2BlockDecoder>(block, code, arena, std::move(input));
      XZFS_RETURN_IF_ERROR(decoder->Start(header, memory_limit_bytes));
      Lzma2BlockDecoder* const ours = decoder.get();
      return Started{std::move(decoder), ours};
    }
  }
  auto decoder = std::make_unique<LiblzmaBlockDecoder>(block, arena, std::move(input));
  XZFS_RETURN_IF_ERROR(decoder->Start(file, memory_limit_bytes));
  return Started{.decoder = std::move(decoder)};
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
  return DecodeBlockHeader(head, block, header);
}

}  // namespace

class BlockDecoder::Impl {
 public:
  Impl(const BlockInfo& block, uint64_t memory_limit_bytes, std::unique_ptr<DecoderArena> arena,
       Started started)
      : block_(block),
        memory_limit_bytes_(memory_limit_bytes),
        arena_(std::move(arena)),
        started_(std::move(started)) {}

  Status Decode(const RandomAccessFile& file, std::span<std::byte> out,
                const std::function<void()>& pause);
  Status DecodeInto(const RandomAccessFile& file, std::span<std::byte> whole, size_t end);
  uint64_t position() const { return position_; }
  uint64_t memory_bytes() const {
    return sizeof(BlockDecoder) + sizeof(*this) +
           (fallback_ != nullptr ? sizeof(Lzma2BlockDecoder) + fallback_->memory_bytes()
            : decoder()          ? decoder()->memory_bytes()
                                 : 0);
  }
  DecoderVerdict TakeVerdict() { return std::exchange(verdict_, DecoderVerdict::kNotAsked); }
  StepDecoder* decoder() const {
    return fallback_ != nullptr ? fallback_.get() : started_.decoder.get();
  }
  size_t most_history_bytes() const {
    return fallback_ != nullptr ? 0 : started_.decoder->most_history_bytes();
  }
  DecoderMark Mark();
  std::span<std::byte> Restore(const DecoderMark& mark);
  void FreeMemory() {
    DropFallback();
    started_.decoder->FreeMemory();
  }
  std::unique_ptr<DecoderArena> TakeArena() {
    DropFallback();
    started_.decoder.reset();
    return std::move(arena_);
  }

 private:
  // Runs whatever decodes until `end` bytes are there, and verifies at the Block's end.
  template <class Run>
  Status RunTo(const RandomAccessFile& file, uint64_t end, const Run& run,
               const std::function<void()>& pause);
  template <class Run>
  Status Attempt(const RandomAccessFile& file, uint64_t end, const Run& run);
  Status StartFallback(const RandomAccessFile& file, uint64_t check,
                       const std::function<void()>& pause);
  Result<uint64_t> SkipGiven(const RandomAccessFile& file, const std::function<void()>& pause);
  void DropFallback() {
    fallback_.reset();
    fallback_arena_.reset();
  }

  const BlockInfo block_;
  const uint64_t memory_limit_bytes_;
  std::unique_ptr<DecoderArena> arena_;
  Started started_;
  std::unique_ptr<DecoderArena> fallback_arena_;
  std::unique_ptr<StepDecoder> fallback_;  // decodes in the place of ours
  uint64_t position_ = 0;
  DecoderVerdict verdict_ = DecoderVerdict::kNotAsked;
  bool ended_ = false;  // and the Check was right
  bool failed_ = false;
};

Status BlockDecoder::Impl::Decode(const RandomAccessFile& file, std::span<std::byte> out,
                                  const std::function<void()>& pause) {
  assert(out.size() <= block_.plain_size - position_);
  return RunTo(
      file, position_ + out.size(), [&] { return decoder()->Run(file, out); }, pause);
}

Status BlockDecoder::Impl::DecodeInto(const RandomAccessFile& file, std::span<std::byte> whole,
                                      size_t end) {
  assert(position_ <= end && end <= whole.size() && whole.size() == block_.plain_size);
  return RunTo(file, end,
               [&] { return decoder()->RunInto(file, whole, static_cast<size_t>(position_), end); },
               {});
}

template <class Run>
Status BlockDecoder::Impl::RunTo(const RandomAccessFile& file, uint64_t end, const Run& run,
                                 const std::function<void()>& pause) {
  if (failed_) {
    return Fail(EIO, "decoding this Block failed before");
  }
  if (ended_) {
    return {};
  }
  failed_ = true;  // unless all goes well
  const uint64_t check = started_.ours != nullptr ? started_.ours->check_of_given() : 0;
  Status status = Attempt(file, end, run);
  if (!status && status.error().kind == ErrorKind::kDamaged && started_.ours != nullptr &&
      fallback_ == nullptr) {
    Status asked = StartFallback(file, check, pause);
    if (asked) {
      asked = Attempt(file, end, run);
    }
    if (asked) {
      verdict_ = DecoderVerdict::kRescued;
    } else if (asked.error().kind == ErrorKind::kDamaged) {
      verdict_ = DecoderVerdict::kConfirmed;
    }
    // If there is no memory to ask, ours is right as far as anybody knows.
    if (asked || asked.error().kind != ErrorKind::kOverLimit) {
      status = std::move(asked);
    }
  }
  if (!status) {
    DropFallback();
  }
  failed_ = !status;
  return status;
}

template <class Run>
Status BlockDecoder::Impl::Attempt(const RandomAccessFile& file, uint64_t end, const Run& run) {
  StepDecoder::Progress step;
  if (end > position_) {
    XZFS_ASSIGN_OR_RETURN(step, run());
    if (step.produced < end - position_) {
      return Fail(EIO, "the compressed data gives fewer bytes than its recorded size");
    }
  }
  if (end == block_.plain_size) {
    if (!step.ended) {
      XZFS_RETURN_IF_ERROR(decoder()->Run(file, {}));
    }
    ended_ = true;
  }
  position_ = end;
  return {};
}

// Puts a decoder of liblzma in the place of ours, to where ours stood before its last run. `check`:
// that of what ours gave up to there. If it gave wrong bytes that is the verdict, and an error.
Status BlockDecoder::Impl::StartFallback(const RandomAccessFile& file, uint64_t check,
                                         const std::function<void()>& pause) {
  started_.ours->FreeMemory();
  fallback_arena_ = std::make_unique<DecoderArena>();
  const uint64_t limit =
      memory_limit_bytes_ - std::min<uint64_t>(memory_limit_bytes_, sizeof(Lzma2BlockDecoder));
  XZFS_ASSIGN_OR_RETURN(Started started,
                        StartXz(file, block_, Choice::kLiblzma, limit, *fallback_arena_));
  fallback_ = std::move(started.decoder);
  XZFS_ASSIGN_OR_RETURN(const uint64_t right, SkipGiven(file, pause));
  if (right != check) {
    verdict_ = DecoderVerdict::kWrong;
    return Failure(Error{ErrorKind::kSystem, EIO,
                         "our decoder gave other bytes of this Block than liblzma; read again"});
  }
  return {};
}

// Decodes what ours gave once more, and returns its Check.
Result<uint64_t> BlockDecoder::Impl::SkipGiven(const RandomAccessFile& file,
                                               const std::function<void()>& pause) {
  std::vector<std::byte> bytes(std::min<uint64_t>(position_, kDecoderInputBytes));
  BlockCheck check(block_.check);
  for (uint64_t at = 0; at < position_;) {
    const auto part = std::span(bytes).first(std::min<uint64_t>(bytes.size(), position_ - at));
    XZFS_ASSIGN_OR_RETURN(const StepDecoder::Progress step, fallback_->Run(file, part));
    if (step.produced < part.size()) {
      return Fail(EIO, "the compressed data gives fewer bytes than its recorded size");
    }
    check.Add(part);
    at += part.size();
    if (pause) {
      pause();
    }
  }
  return check.value();
}

DecoderMark BlockDecoder::Impl::Mark() {
  assert(!failed_);
  DecoderMark mark;
  mark.position = position_;
  decoder()->Save(mark);
  return mark;
}

std::span<std::byte> BlockDecoder::Impl::Restore(const DecoderMark& mark) {
  position_ = mark.position;
  ended_ = false;  // if the mark is of the end, the coder says so again
  failed_ = false;
  DropFallback();
  return started_.decoder->Restore(mark);
}

BlockDecoder::BlockDecoder(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

BlockDecoder::~BlockDecoder() = default;

Result<std::unique_ptr<BlockDecoder>> BlockDecoder::Open(
    const RandomAccessFile& file, const BlockIndex& index, const BlockInfo& block,
    uint64_t memory_limit_bytes, std::unique_ptr<DecoderArena> arena, DecoderChoice choice) try {
  constexpr uint64_t kOwnBytes = sizeof(BlockDecoder) + sizeof(Impl);
  if (memory_limit_bytes < kOwnBytes) {
    return FailMemoryLimit(kOwnBytes, memory_limit_bytes);
  }
  if (arena == nullptr) {
    arena = std::make_unique<DecoderArena>();
  }
  const uint64_t limit = memory_limit_bytes - kOwnBytes;
  const Choice who = choice == DecoderChoice::kLiblzma ? Choice::kLiblzma : ChoiceOfEnvironment();
  XZFS_ASSIGN_OR_RETURN(Started started, index.format() == Format::kXz
                                             ? StartXz(file, block, who, limit, *arena)
                                             : StartLegacy(file, index, block, limit));
  auto impl = std::make_unique<Impl>(block, limit, std::move(arena), std::move(started));
  return std::unique_ptr<BlockDecoder>(new BlockDecoder(std::move(impl)));
} catch (const std::bad_alloc&) {
  return Fail(ENOMEM, "out of memory while preparing a decoder");
}

Status BlockDecoder::Decode(const RandomAccessFile& file, std::span<std::byte> out,
                            const std::function<void()>& pause) {
  return impl_->Decode(file, out, pause);
}

Status BlockDecoder::DecodeInto(const RandomAccessFile& file, std::span<std::byte> block,
                                size_t end) {
  return impl_->DecodeInto(file, block, end);
}

size_t BlockDecoder::most_history_bytes() const { return impl_->most_history_bytes(); }

HistoryPieces BlockDecoder::history() const { return impl_->decoder()->history(); }

DecoderMark BlockDecoder::Mark() const { return impl_->Mark(); }

std::span<std::byte> BlockDecoder::Restore(const DecoderMark& mark) { return impl_->Restore(mark); }

void BlockDecoder::FreeMemory() { impl_->FreeMemory(); }

uint64_t BlockDecoder::position() const { return impl_->position(); }

uint64_t BlockDecoder::memory_bytes() const { return impl_->memory_bytes(); }

DecoderVerdict BlockDecoder::TakeVerdict() { return impl_->TakeVerdict(); }

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
  const uint64_t input_bytes = std::min<uint64_t>(StoredSize(block), kDecoderInputBytes);
  const bool is_ours =
      ChoiceOfEnvironment() != Choice::kLiblzma && Lzma2BlockDecoder::Takes(header);
  const uint64_t ours = is_ours ? sizeof(Lzma2BlockDecoder) : 0;
  const uint64_t window = is_ours ? Lzma2BlockDecoder::WindowBytes(header, block) : 0;
  ClampDictionary(block.plain_size, &header);
  const uint64_t coder_bytes = lzma_raw_decoder_memusage(header.filters.get());
  if (coder_bytes == UINT64_MAX) {
    return FailLzma(LZMA_OPTIONS_ERROR, "the Block Header");
  }
  // liblzma may have to take the place of ours, which gives up its memory then.
  return kOwnBytes + ours + input_bytes +
         std::max(window, sizeof(LiblzmaBlockDecoder) + coder_bytes);
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
