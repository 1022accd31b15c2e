// Decodes formats that have no Index. Headers may ask for more memory than the data needs. So the
// dictionary is only as large as the data can refer back, and the header is changed accordingly in
// the input buffer before liblzma sees it.
#include "xz/legacy_decoder.h"

#include <lzma.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/try.h"
#include "xz/format.h"

namespace xzfs {

namespace {

constexpr uint32_t kSmallestDict = 4096;
constexpr uint32_t kLargestLzipDict = uint32_t{512} << 20;

// How much a coder allocates for these parameters; UINT64_MAX if they are not valid.
uint64_t CoderBytes(uint32_t lc, uint32_t lp, uint32_t pb, uint32_t dict_bytes) {
  lzma_options_lzma options{};
  options.dict_size = dict_bytes;
  options.lc = lc;
  options.lp = lp;
  options.pb = pb;
  const lzma_filter chain[] = {{LZMA_FILTER_LZMA1, &options}, {LZMA_VLI_UNKNOWN, nullptr}};
  return lzma_raw_decoder_memusage(chain);
}

// How much a coder needs in addition to its dictionary.
uint64_t BareCoderBytes(uint32_t lc, uint32_t lp, uint32_t pb) {
  const uint64_t bytes = CoderBytes(lc, lp, pb, kSmallestDict);
  return bytes == UINT64_MAX ? bytes : bytes - kSmallestDict;
}

// The parameters that lzip uses for all its files.
uint64_t BareLzipCoderBytes() { return BareCoderBytes(3, 0, 2); }

enum class Rounding { kUp, kDown };

// The code of the smallest dictionary of at least `bytes`, or of the largest of at most `bytes`. If
// there is none, that of the largest or smallest dictionary.
uint8_t LzipDictCode(uint64_t bytes, Rounding rounding) {
  uint8_t below = 12;
  for (uint32_t n = 12; n <= 29; ++n) {
    for (uint32_t f = n == 12 ? 0 : 7;; --f) {
      const uint8_t code = static_cast<uint8_t>(f << 5 | n);
      if (LzipDict(code) >= bytes) {
        return rounding == Rounding::kUp || LzipDict(code) == bytes ? code : below;
      }
      below = code;
      if (f == 0) {
        break;
      }
    }
  }
  return below;
}

}  // namespace

uint32_t LzipDict(uint8_t code) {
  const uint32_t n = code & 0x1F;
  const uint32_t f = code >> 5;
  if (n < 12 || n > 29 || (n == 12 && f > 0)) {
    return 0;
  }
  return (uint32_t{1} << n) - (f << (n - 4));
}

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
    largest = LzipDict(LzipDictCode(largest, Rounding::kUp));
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
    // A full `out` must not be passed on as an empty one, which would run to the end.
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
    dict = LzipDict(LzipDictCode(dict, Rounding::kUp));
  }
  if (options_.cut_dictionary_to_limit && rest + kSmallestDict <= limit && dict > limit - rest) {
    dict = limit - rest;
    if (lzip) {
      dict = LzipDict(LzipDictCode(dict, Rounding::kDown));
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
  if (!LooksLikeLzmaAlone(std::as_bytes(head))) {
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
  if (!HasLzipMagic(std::as_bytes(head))) {
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
  if (options_.one_member && member_count_ > 0) {
    return Fail(EIO, "a .lz member ends before the end that its trailer records");
  }
  // The decoder itself refuses other faults of the header.
  const uint32_t asked = LzipDict(head[kLzipDictOffset]);
  if (asked != 0) {
    XZFS_ASSIGN_OR_RETURN(const uint32_t dict, ChooseDictionary(asked, BareLzipCoderBytes()));
    if (dict != asked) {
      head[kLzipDictOffset] = LzipDictCode(dict, Rounding::kUp);
    }
  }
  const lzma_ret ret = lzma_lzip_decoder(stream_.get(), coder_bytes_, 0);
  if (ret != LZMA_OK) {
    return FailLzma(ret, "the .lz decoder");
  }
  ++member_count_;
  return true;
}

}  // namespace xzfs
