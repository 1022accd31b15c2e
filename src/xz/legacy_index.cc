// .lzma and .lz files, which have no Index.
//
// A .lzma file is one Block. Its header may give its size; otherwise it is decoded once to learn
// it. A .lz file is a chain of members, each with its sizes in a trailer. They are read from the
// end of the file, and every member is a Block. That only works if nothing follows the last member
// and all have version 1. Other files are rare: they are decoded once and are one Block.
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

#include "base/try.h"
#include "xz/block_index_builder.h"
#include "xz/format.h"
#include "xz/legacy_decoder.h"
#include "xz/tail_window.h"

namespace xzfs {

namespace {

// Decoding this much to learn a size takes some minutes. A file that seems larger may be a bomb,
// and is refused. If it really is larger it can be converted to .xz.
constexpr uint64_t kLargestScan = uint64_t{64} << 30;

constexpr size_t kScanBufferBytes = size_t{64} << 10;

struct ScanResult {
  uint64_t plain_size = 0;
  uint64_t member_count = 0;
};

// Decodes the whole file to learn its size.
Result<ScanResult> Scan(const RandomAccessFile& file, Format format,
                        const BlockIndexOptions& limits) {
  if (limits.memory_limit_bytes < kScanBufferBytes) {
    return FailMemoryLimit(kScanBufferBytes, limits.memory_limit_bytes);
  }
  LegacyDecoder::Options options;
  options.format = format;
  options.size = file.size();
  options.memory_limit_bytes = limits.memory_limit_bytes - kScanBufferBytes;
  options.cut_dictionary_to_limit = true;
  LegacyDecoder decoder(options);
  XZFS_RETURN_IF_ERROR(decoder.Start(file));
  std::vector<std::byte> discarded(kScanBufferBytes);
  ScanResult scan;
  for (bool ended = false; !ended;) {
    const Result<StepDecoder::Progress> step = decoder.Run(file, discarded);
    if (!step) {
      // While everything decoded so far fits into the dictionary a larger one would not help.
      if (step.error().code != EIO ||
          scan.plain_size + kScanBufferBytes <= decoder.cut_dictionary_bytes()) {
        return Failure<>(step.error());
      }
      Error error = step.error();
      error.code = EFBIG;
      if (error.kind == ErrorKind::kDamaged) {
        error.kind = ErrorKind::kOverLimit;
      }
      error.message = "decoding may need a larger dictionary than the memory limit of " +
                      std::to_string(limits.memory_limit_bytes) + " bytes allows: " + error.message;
      return Failure<>(std::move(error));
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

// The index of a file that is one Block.
Result<BlockIndex> OneBlock(const RandomAccessFile& file, Format format, Check check,
                            const ScanResult& content, const BlockIndexOptions& limits) {
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

// The member that ends at `end`. Nothing if no member fits there.
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
  if (!HasLzipMagic(std::as_bytes(head)) || head[kLzipVersionOffset] != 1 ||
      LzipDict(head[kLzipDictOffset]) == 0) {
    return std::nullopt;
  }
  return member;
}

// The index of a file whose members fit together from its end to its start; nothing if they don't.
Result<std::optional<BlockIndex>> WalkMembers(const RandomAccessFile& file,
                                              const BlockIndexOptions& limits) {
  TailWindow window(file, limits.memory_limit_bytes / 4);
  BlockIndexBuilder builder(Format::kLzip, limits);
  for (uint64_t end = file.size(); end > 0;) {
    XZFS_ASSIGN_OR_RETURN(const std::optional<LzipMember> member, MemberBefore(&window, end));
    if (!member) {
      return std::nullopt;
    }
    XZFS_RETURN_IF_ERROR(builder.BeginStream(Check::kCrc32, 1, window.memory_bytes()));
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
                                      const BlockIndexOptions& limits) {
  std::array<uint8_t, kLzmaAloneHeaderBytes> head{};
  XZFS_ASSIGN_OR_RETURN(const size_t got, file.ReadAt(0, std::as_writable_bytes(std::span(head))));
  if (!LooksLikeLzmaAlone(std::as_bytes(std::span(head).first(got)))) {
    return Fail(EIO, "the .lzma header is not valid: damaged, or another kind of file");
  }
  ScanResult content{.plain_size = LoadLe64(head.data() + 5), .member_count = 1};
  if (content.plain_size == UINT64_MAX) {
    XZFS_ASSIGN_OR_RETURN(content, Scan(file, Format::kLzmaAlone, limits));
  }
  return OneBlock(file, Format::kLzmaAlone, Check::kNone, content, limits);
}

Result<BlockIndex> ReadLzipIndex(const RandomAccessFile& file, const BlockIndexOptions& limits) {
  if (file.size() == 0) {
    return Fail(EIO, "the file is truncated: it is empty");
  }
  XZFS_ASSIGN_OR_RETURN(std::optional<BlockIndex> index, WalkMembers(file, limits));
  if (index) {
    return *std::move(index);
  }
  XZFS_ASSIGN_OR_RETURN(const ScanResult content, Scan(file, Format::kLzip, limits));
  return OneBlock(file, Format::kLzip, Check::kCrc32, content, limits);
}

}  // namespace xzfs
