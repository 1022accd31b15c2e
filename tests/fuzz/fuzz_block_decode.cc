// Whatever a Block contains, decoding it gives an error or the bytes that liblzma's decoder of
// whole files gives, in whatever steps, and never needs more memory than it may have.
#include <algorithm>
#include <cerrno>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "fuzz/fuzz_input.h"
#include "support/mem_file.h"
#include "xz/block_decoder.h"

namespace xzfs {
namespace {

constexpr uint64_t kIndexMemory = uint64_t{2} << 20;
constexpr uint64_t kDecoderMemory = uint64_t{8} << 20;
constexpr uint64_t kMostBlocks = 8;
// An Index may claim any size; what is not decoded by then was seen to work.
constexpr size_t kMostPlain = size_t{2} << 20;

size_t NextStep(std::mt19937* random) {
  static constexpr size_t kLargest[] = {1, 16, 700, 65536};
  return (*random)() % (kLargest[(*random)() % std::size(kLargest)] + 1);
}

// Decodes what `plain` has after the decoder's position, as it was decoded before.
void Again(const MemFile& file, BlockDecoder& decoder, const std::string& plain) {
  const size_t at = static_cast<size_t>(decoder.position());
  std::string again(plain.size() - at, 0);
  Require(decoder.Decode(file, std::as_writable_bytes(std::span(again))).has_value(),
          "what was decoded can be decoded again");
  Require(plain.compare(at, again.size(), again) == 0, "it gives the same bytes");
}

// Decodes up to kMostPlain of a Block in random steps. Nothing if that fails.
std::optional<std::string> DecodeBlock(const MemFile& file, const BlockIndex& index,
                                       const BlockInfo& block, std::mt19937* random) {
  const auto decoder = BlockDecoder::Open(file, index, block, kDecoderMemory);
  const Result<uint64_t> bound = BlockDecoderMemory(file, index, block);
  if (!decoder) {
    Require(decoder.error().code == EIO || decoder.error().code == EFBIG, "EIO or EFBIG");
    return std::nullopt;
  }
  Require(bound.has_value(), "what opens has a bound of its memory");
  std::string plain;
  std::optional<DecoderMark> mark;
  std::vector<std::byte> history;
  do {
    const bool has_points = (*decoder)->most_history_bytes() != 0;
    if (has_points && !mark && (*random)() % 16 == 0) {
      mark = (*decoder)->Mark();
      history.clear();
      for (const std::span<const std::byte> piece : (*decoder)->history()) {
        history.insert(history.end(), piece.begin(), piece.end());
      }
    } else if (mark && (*random)() % 16 == 0) {
      // What comes after it is decoded again, and must be the same.
      (*decoder)->FreeMemory();
      std::copy(history.begin(), history.end(), (*decoder)->Restore(*mark).begin());
      Again(file, **decoder, plain);
      mark.reset();
    }
    const uint64_t left = block.plain_size - plain.size();
    const size_t before = plain.size();
    const size_t count = static_cast<size_t>(std::min<uint64_t>(NextStep(random), left));
    plain.resize(before + count);
    Require((*decoder)->memory_bytes() <= std::min(kDecoderMemory, *bound), "the memory limit");
    const Status status =
        (*decoder)->Decode(file, std::as_writable_bytes(std::span(plain.data() + before, count)));
    if (!status) {
      Require(status.error().code == EIO || status.error().code == EFBIG, "EIO or EFBIG");
      Require(!(*decoder)->Decode(file, {}), "what failed stays failed");
      return std::nullopt;
    }
    Require((*decoder)->position() == plain.size(), "position()");
  } while (plain.size() < std::min<uint64_t>(block.plain_size, kMostPlain));
  return plain;
}

// Everything that was read lies inside `block`.
void CheckAccesses(const MemFile& file, const BlockIndex& index, const BlockInfo& block) {
  const uint64_t padding = index.format() == Format::kXz ? 3 : 0;
  const uint64_t end = (block.compressed_offset + block.unpadded_size + padding) & ~padding;
  for (const MemFile::Access& access : file.accesses()) {
    Require(access.offset >= block.compressed_offset && access.end() <= end,
            "only the Block itself is read");
  }
}

void Run(const FuzzInput& input) {
  MemFile file(input.file);
  const Result<BlockIndex> index =
      BlockIndex::Read(file, input.format, {.memory_limit_bytes = kIndexMemory});
  const Verdict whole = DecodeWithLiblzma(input);
  if (!index) {
    Require(whole.outcome != Verdict::kDecoded || index.error().code == EFBIG,
            "what liblzma decodes has an index");
    return;
  }
  std::mt19937 random(input.seed);
  std::string plain;
  bool all = index->block_count() <= kMostBlocks;
  for (uint64_t number = 0; number < std::min(index->block_count(), kMostBlocks); ++number) {
    const BlockInfo block = index->Block(number);
    file.Forget();
    const std::optional<std::string> decoded = DecodeBlock(file, *index, block, &random);
    CheckAccesses(file, *index, block);
    (void)DescribeFilters(file, *index, block);
    all = all && decoded && decoded->size() == block.plain_size;
    if (decoded) {
      plain += *decoded;
    }
  }
  if (all && whole.outcome != Verdict::kUnknown) {
    Require(whole.outcome == Verdict::kDecoded, "what decodes here liblzma decodes");
    Require(plain == whole.plain, "the bytes are those that liblzma gives");
  }
}

}  // namespace
}  // namespace xzfs

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::optional<xzfs::FuzzInput> input = xzfs::ParseFuzzInput(data, size);
  if (input) {
    xzfs::Run(*input);
  }
  return 0;
}
