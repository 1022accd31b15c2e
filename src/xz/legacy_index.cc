// .lzma and .lz files, which have no Index.
//
// A .lzma file is one Block. Its header may give its size; otherwise it is decoded once to learn
// it. A .lz file is a chain of members, each with its sizes in a trailer: walked from the end,
// every member is a Block. That works only if nothing follows the last member and all have version
// 1; a file for which it does not is decoded once and is one Block, as is right for what is so
// rare.
#include <lzma.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "xz/block_index_builder.h"
#include "xz/format.h"
#include "xz/legacy_decoder.h"
#include "xz/tail_window.h"

namespace xzfs {

namespace {

constexpr uint8_t kLzipVersionOffset = 4;
constexpr uint8_t kLzipDictOffset = 5;
constexpr uint32_t kSmallestDict = 4096;
constexpr uint32_t kLargestLzipDict = uint32_t{512} << 20;

// Learning a size by decoding takes time, some minutes for this much; what claims to be larger is
// taken for a bomb. A file that is really larger can be converted to .xz.
constexpr uint64_t kLargestScan = uint64_t{64} << 30;

constexpr size_t kScanBufferBytes = size_t{64} << 10;

// What a coder allocates for these parameters; UINT64_MAX if they are not valid.
uint64_t CoderBytes(uint32_t lc, uint32_t lp, uint32_t pb, uint32_t dict_bytes) {
  lzma_options_lzma options{};
  options.dict_size = dict_bytes;
  options.lc = lc;
  options.lp = lp;
  options.pb = pb;
  const lzma_filter chain[] = {{LZMA_FILTER_LZMA1, &options}, {LZMA_VLI_UNKNOWN, nullptr}};
  return lzma_raw_decoder_memusage(chain);
}

// What a coder needs beside its dictionary.
uint64_t BareCoderBytes(uint32_t lc, uint32_t lp, uint32_t pb) {
  const uint64_t bytes = CoderBytes(lc, lp, pb, kSmallestDict);
  return bytes == UINT64_MAX ? bytes : bytes - kSmallestDict;
}

// What lzip uses for all its files.
uint64_t BareLzipCoderBytes() { return BareCoderBytes(3, 0, 2); }

// The dictionary size in a .lz header, 2^n - f * 2^(n-4); 0 if the format does not allow it.
uint32_t LzipDict(uint8_t code) {
  const uint32_t n = code & 0x1F;
  const uint32_t f = code >> 5;
  if (n < 12 || n > 29 || (n == 12 && f > 0)) {
    return 0;
  }
  return (uint32_t{1} << n) - (f << (n - 4));
}

// The code of the smallest dictionary of at least, or of the largest of at most `bytes`; the
// largest or smallest that there is if none is.
uint8_t LzipDictCode(uint64_t bytes, bool at_least) {
  uint8_t below = 12;
  for (uint32_t n = 12; n <= 29; ++n) {
    for (uint32_t f = n == 12 ? 0 : 7;; --f) {
      const uint8_t code = static_cast<uint8_t>(f << 5 | n);
      if (LzipDict(code) >= bytes) {
        return at_least || LzipDict(code) == bytes ? code : below;
      }
      below = code;
      if (f == 0) {
        break;
      }
    }
  }
  return below;
}

std::span<const std::byte> AsBytes(std::span<const uint8_t> bytes) { return std::as_bytes(bytes); }

}  // namespace

LegacyDecoder::LegacyDecoder(const Options& options)
    : options_(options), input_(options.offset, options.size) {}

uint64_t LegacyDecoder::memory_bytes() const {
  return sizeof(*this) + input_.capacity() + coder_bytes_;
}

uint64_t LegacyDecoder::MemoryFor(const Options& options, std::span<const uint8_t> head,
                                  bool many_members) {
  uint64_t bare = BareLzipCoderBytes();
  uint64_t dict = 0;
  if (options.format == Format::kLzmaAlone && head.size() >= kLzmaAloneHeaderBytes) {
    dict = LoadLe32(head.data() + 1);
    bare = BareCoderBytes(head[0] % 9u, head[0] / 9u % 5u, head[0] / 45u);
  } else if (options.format == Format::kLzip && head.size() >= kLzipHeaderBytes) {
    dict = many_members ? kLargestLzipDict : LzipDict(head[kLzipDictOffset]);
  }
  uint64_t largest = std::max<uint64_t>(options.largest_plain_bytes, kSmallestDict);
  if (options.format == Format::kLzip) {
    largest = LzipDict(LzipDictCode(largest, /*at_least=*/true));
  }
  dict = std::max<uint64_t>(std::min(dict, largest), kSmallestDict);
  return sizeof(LegacyDecoder) + std::min<uint64_t>(options.size, kDecoderInputBytes) + bare + dict;
}

Status LegacyDecoder::Start(const RandomAccessFile& file) {
  XZFS_ASSIGN_OR_RETURN(coding_, StartNext(file));
  return {};
}

Result<StepDecoder::Progress> LegacyDecoder::Run(const RandomAccessFile& file,
                                                 std::span<std::byte> out) {
  size_t produced = 0;
  while (true) {
    if (!coding_) {
      XZFS_ASSIGN_OR_RETURN(coding_, StartNext(file));
      if (!coding_) {
        return Progress{produced, true};
      }
    }
    XZFS_ASSIGN_OR_RETURN(const Progress step,
                          RunCoder(stream_.get(), &input_, file, out.subspan(produced)));
    produced += step.produced;
    coding_ = !step.ended;
    // A full `out` may not be taken for an empty one, which would run to the end.
    if (coding_ || (produced == out.size() && !out.empty())) {
      return Progress{produced, false};
    }
  }
}

Result<bool> LegacyDecoder::StartNext(const RandomAccessFile& file) {
  if (options_.format == Format::kLzip) {
    return StartMember(file);
  }
  if (member_count_ > 0) {
    if (input_.remaining() > 0) {
      return Fail(EIO, "something follows the end of the .lzma data");
    }
    return false;
  }
  XZFS_RETURN_IF_ERROR(StartLzmaAlone(file));
  return true;
}

Result<uint32_t> LegacyDecoder::ChooseDictionary(uint32_t asked_bytes, uint64_t coder_bytes) {
  const uint64_t limit = options_.memory_limit_bytes;
  const uint64_t rest = sizeof(*this) + input_.capacity() + coder_bytes;
  uint64_t dict = std::min<uint64_t>(
      asked_bytes, std::max<uint64_t>(options_.largest_plain_bytes, kSmallestDict));
  const bool lzip = options_.format == Format::kLzip;
  if (lzip && dict < asked_bytes) {
    dict = LzipDict(LzipDictCode(dict, /*at_least=*/true));
  }
  if (options_.cut_dictionary_to_limit && rest + kSmallestDict <= limit && dict > limit - rest) {
    dict = limit - rest;
    if (lzip) {
      dict = LzipDict(LzipDictCode(dict, /*at_least=*/false));
    }
    cut_dictionary_bytes_ = std::min(cut_dictionary_bytes_, dict);
  }
  // liblzma allocates at least the smallest.
  const uint64_t needed = rest + std::max<uint64_t>(dict, kSmallestDict);
  if (needed > limit) {
    return FailMemoryLimit(needed, limit);
  }
  coder_bytes_ = needed - sizeof(*this) - input_.capacity();
  return static_cast<uint32_t>(dict);
}

Status LegacyDecoder::StartLzmaAlone(const RandomAccessFile& file) {
  if (options_.size < kLzmaAloneHeaderBytes) {
    return Fail(EIO, "the file is truncated: it is shorter than a .lzma header");
  }
  XZFS_RETURN_IF_ERROR(input_.Fill(file, kLzmaAloneHeaderBytes));
  const std::span<uint8_t> head = input_.buffer();
  if (!LooksLikeLzmaAlone(AsBytes(head))) {
    return Fail(EIO, "the .lzma header is not valid: damaged, or another kind of file");
  }
  const uint64_t bare = BareCoderBytes(head[0] % 9u, head[0] / 9u % 5u, head[0] / 45u);
  XZFS_ASSIGN_OR_RETURN(const uint32_t dict, ChooseDictionary(LoadLe32(head.data() + 1), bare));
  StoreLe32(head.data() + 1, dict);
  const lzma_ret ret = lzma_alone_decoder(stream_.get(), coder_bytes_);
  if (ret != LZMA_OK) {
    return FailLzma(ret, "the .lzma decoder");
  }
  ++member_count_;
  return {};
}

Result<bool> LegacyDecoder::StartMember(const RandomAccessFile& file) {
  if (input_.capacity() < kLzipHeaderBytes) {
    return Fail(EIO, "the file is truncated: it is shorter than a .lz header");
  }
  XZFS_RETURN_IF_ERROR(input_.Fill(file, kLzipHeaderBytes));
  const std::span<uint8_t> head = input_.buffer();
  if (!HasLzipMagic(AsBytes(head))) {
    if (member_count_ == 0) {
      return Fail(EIO, "a .lz member does not begin with its magic bytes");
    }
    if (!head.empty() && !options_.trailing_data_allowed) {
      return Fail(EIO, "a .lz member ends before its trailer");
    }
    return false;
  }
  if (head.size() < kLzipHeaderBytes) {
    return Fail(EIO, "the file is truncated within a .lz header");
  }
  // What the decoder would refuse is left to it.
  const uint32_t asked = LzipDict(head[kLzipDictOffset]);
  if (asked != 0) {
    XZFS_ASSIGN_OR_RETURN(const uint32_t dict, ChooseDictionary(asked, BareLzipCoderBytes()));
    if (dict != asked) {
      head[kLzipDictOffset] = LzipDictCode(dict, /*at_least=*/true);
    }
  }
  const lzma_ret ret = lzma_lzip_decoder(stream_.get(), coder_bytes_, 0);
  if (ret != LZMA_OK) {
    return FailLzma(ret, "the .lz decoder");
  }
  ++member_count_;
  return true;
}

namespace {

struct ScanResult {
  uint64_t plain_size = 0;
  uint64_t member_count = 0;
};

// Decodes the whole file to learn its size.
Result<ScanResult> Scan(const RandomAccessFile& file, Format format,
                        const BlockIndex::Limits& limits) {
  if (limits.memory_bytes < kScanBufferBytes) {
    return FailMemoryLimit(kScanBufferBytes, limits.memory_bytes);
  }
  LegacyDecoder::Options options;
  options.format = format;
  options.size = file.size();
  options.memory_limit_bytes = limits.memory_bytes - kScanBufferBytes;
  options.cut_dictionary_to_limit = true;
  LegacyDecoder decoder(options);
  XZFS_RETURN_IF_ERROR(decoder.Start(file));
  std::vector<std::byte> discarded(kScanBufferBytes);
  ScanResult scan;
  for (bool ended = false; !ended;) {
    const Result<StepDecoder::Progress> step = decoder.Run(file, discarded);
    if (!step) {
      // As long as everything before fits into the dictionary a larger one would not help.
      if (step.error().code != EIO ||
          scan.plain_size + kScanBufferBytes <= decoder.cut_dictionary_bytes()) {
        return tl::unexpected<Error>(step.error());
      }
      Error error = step.error();
      error.code = EFBIG;
      error.message = "decoding may need a larger dictionary than the memory limit of " +
                      std::to_string(limits.memory_bytes) + " bytes allows: " + error.message;
      return tl::unexpected<Error>(std::move(error));
    }
    scan.plain_size += step->produced;
    ended = step->ended;
    if (scan.plain_size > kLargestScan) {
      return Fail(EFBIG,
                  "more than 64 GiB would have to be decoded to learn the file's size; convert it "
                  "to .xz");
    }
  }
  scan.member_count = decoder.member_count();
  return scan;
}

// A file that is one Block.
Result<BlockIndex> OneBlock(const RandomAccessFile& file, Format format, uint8_t check,
                            const ScanResult& content, const BlockIndex::Limits& limits) {
  BlockIndexBuilder builder(format, limits);
  XZFS_RETURN_IF_ERROR(builder.BeginStream(check, 1, 0));
  XZFS_RETURN_IF_ERROR(builder.AddBlock(0, file.size(), content.plain_size));
  builder.EndStream();
  builder.AddStreamCount(content.member_count - 1);
  return builder.Finish();
}

struct LzipMember {
  uint64_t offset;
  uint64_t compressed_size;
  uint64_t plain_size;
};

// The member that ends at `end`; nothing if there is none that fits.
Result<std::optional<LzipMember>> MemberBefore(TailWindow* window, uint64_t end) {
  if (end < kLzipHeaderBytes + kLzipTrailerBytes) {
    return std::nullopt;
  }
  LzipMember member{};
  {
    XZFS_ASSIGN_OR_RETURN(const std::span<const uint8_t> trailer,
                          window->At(end - kLzipTrailerBytes, kLzipTrailerBytes));
    member.plain_size = LoadLe64(trailer.data() + 4);
    member.compressed_size = LoadLe64(trailer.data() + 12);
  }
  if (member.compressed_size > end ||
      member.compressed_size < kLzipHeaderBytes + kLzipTrailerBytes) {
    return std::nullopt;
  }
  member.offset = end - member.compressed_size;
  XZFS_ASSIGN_OR_RETURN(const std::span<const uint8_t> head,
                        window->At(member.offset, kLzipHeaderBytes));
  if (!HasLzipMagic(AsBytes(head)) || head[kLzipVersionOffset] != 1 ||
      LzipDict(head[kLzipDictOffset]) == 0) {
    return std::nullopt;
  }
  return member;
}

// The index of a file whose members fit together from its end to its start; nothing if they don't.
Result<std::optional<BlockIndex>> WalkMembers(const RandomAccessFile& file,
                                              const BlockIndex::Limits& limits) {
  TailWindow window(file, limits.memory_bytes / 4);
  BlockIndexBuilder builder(Format::kLzip, limits);
  for (uint64_t end = file.size(); end > 0;) {
    XZFS_ASSIGN_OR_RETURN(const std::optional<LzipMember> member, MemberBefore(&window, end));
    if (!member) {
      return std::nullopt;
    }
    XZFS_RETURN_IF_ERROR(builder.BeginStream(LZMA_CHECK_CRC32, 1, window.memory_bytes()));
    if (!builder.AddBlock(member->offset, member->compressed_size, member->plain_size)) {
      return std::nullopt;  // it only looks like a member
    }
    builder.EndStream();
    end = member->offset;
  }
  return builder.Finish();
}

}  // namespace

Result<BlockIndex> ReadLzmaAloneIndex(const RandomAccessFile& file,
                                      const BlockIndex::Limits& limits) {
  std::array<uint8_t, kLzmaAloneHeaderBytes> head{};
  XZFS_ASSIGN_OR_RETURN(const size_t got, file.ReadAt(0, std::as_writable_bytes(std::span(head))));
  if (!LooksLikeLzmaAlone(AsBytes(std::span(head).first(got)))) {
    return Fail(EIO, "the .lzma header is not valid: damaged, or another kind of file");
  }
  ScanResult content{.plain_size = LoadLe64(head.data() + 5), .member_count = 1};
  if (content.plain_size == UINT64_MAX) {
    XZFS_ASSIGN_OR_RETURN(content, Scan(file, Format::kLzmaAlone, limits));
  }
  return OneBlock(file, Format::kLzmaAlone, LZMA_CHECK_NONE, content, limits);
}

Result<BlockIndex> ReadLzipIndex(const RandomAccessFile& file, const BlockIndex::Limits& limits) {
  if (file.size() == 0) {
    return Fail(EIO, "the file is truncated: it is empty");
  }
  XZFS_ASSIGN_OR_RETURN(std::optional<BlockIndex> index, WalkMembers(file, limits));
  if (index) {
    return *std::move(index);
  }
  XZFS_ASSIGN_OR_RETURN(const ScanResult content, Scan(file, Format::kLzip, limits));
  return OneBlock(file, Format::kLzip, LZMA_CHECK_CRC32, content, limits);
}

}  // namespace xzfs
