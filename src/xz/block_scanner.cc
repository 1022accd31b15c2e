// FindLandmark reads the file in windows, with room for one more header behind each: so a header
// that begins in a window is whole in it. It tries each multiple of 4, and asks for the CRC32 only
// where the first bytes may be a header. An Index begins with a zero byte, as much else does; only
// LandmarkAt looks for one, where the caller expects it.
//
// A right CRC32 may be chance. Only decoding proves a Block: SalvageBlock calls it whole if it ends
// where it should, and its sizes and its Check are right. It decodes as BlockDecoder does, with two
// differences: sizes from an Index are optional, and bytes that were decoded before an error are
// given out, too.
//
// Damage is a result here and no error. The only errors are those of the caller's function
// (`refused`) and that the search was cancelled.
#include "xz/block_scanner.h"

#include <lzma.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "base/try.h"
#include "xz/block_header.h"
#include "xz/format.h"
#include "xz/lzma_util.h"

namespace xzfs {
namespace {

constexpr uint64_t kPartBytes = uint64_t{1} << 20;
// How much of the file a search holds.
constexpr size_t kWindowBytes = size_t{64} << 10;
constexpr size_t kHeaderBytes = LZMA_STREAM_HEADER_SIZE;
constexpr size_t kLargestBlockHeader = LZMA_BLOCK_HEADER_SIZE_MAX;
// Block Flags that the format reserves.
constexpr uint8_t kReservedFlags = 0x3C;

bool IsStreamHeader(std::span<const uint8_t> bytes, Check* check) {
  lzma_stream_flags flags{};
  if (bytes.size() < kHeaderBytes || !HasXzMagic(std::as_bytes(bytes)) ||
      lzma_stream_header_decode(&flags, bytes.data()) != LZMA_OK) {
    return false;
  }
  *check = static_cast<Check>(flags.check);
  return true;
}

bool IsBlockHeader(std::span<const uint8_t> bytes) {
  // In most places these two bytes rule out a header, and no CRC32 has to be computed.
  if (bytes.size() < 2 || bytes[0] == 0 || (bytes[1] & kReservedFlags) != 0) {
    return false;
  }
  XzHeader header;
  return DecodeXzHeader(bytes, Check::kNone, &header).has_value();
}

// Reads as much as there is.
std::span<const uint8_t> ReadSome(const RandomAccessFile& file, uint64_t offset,
                                  std::span<uint8_t> buffer) {
  const Result<size_t> got = file.ReadAt(offset, std::as_writable_bytes(buffer));
  return buffer.first(got.value_or(0));
}

// The number of Records with which the Index at `head` begins, or 0.
uint64_t RecordCount(std::span<const uint8_t> head) {
  lzma_vli count = 0;
  size_t used = 0;
  const std::span<const uint8_t> number = head.subspan(1);
  return lzma_vli_decode(&count, nullptr, number.data(), &used, number.size()) == LZMA_OK ? count
                                                                                          : 0;
}

Landmark IndexAt(const RandomAccessFile& file, uint64_t offset, uint64_t memory_limit_bytes,
                 std::span<const uint8_t> head) {
  Landmark mark{.kind = Landmark::Kind::kDamagedIndex,
                .offset = offset,
                .end = offset,
                .block_count = RecordCount(head)};
  lzma_index* index = nullptr;
  LzmaStream stream;
  if (lzma_index_decoder(stream.get(), &index, memory_limit_bytes) != LZMA_OK) {
    return mark;
  }
  CompressedInput input(offset, file.size() - offset);
  lzma_ret ret = LZMA_OK;
  while (ret == LZMA_OK && input.Fill(file, 1) && !input.buffer().empty()) {
    const std::span<uint8_t> bytes = input.buffer();
    stream->next_in = bytes.data();
    stream->avail_in = bytes.size();
    ret = lzma_code(stream.get(), LZMA_RUN);
    input.Consume(bytes.size() - stream->avail_in);
  }
  mark.end = input.position();
  if (ret == LZMA_STREAM_END) {
    mark.kind = Landmark::Kind::kIndex;
    mark.block_count = lzma_index_block_count(index);
    lzma_index_end(index, nullptr);
  }
  return mark;
}

// What `bytes`, which are at `offset`, begin with. Doesn't look for an Index.
Landmark HeaderIn(std::span<const uint8_t> bytes, uint64_t offset) {
  Landmark mark{.offset = offset, .end = offset};
  if (IsStreamHeader(bytes, &mark.check)) {
    mark.kind = Landmark::Kind::kStreamHeader;
    mark.end = offset + kHeaderBytes;
  } else if (IsBlockHeader(bytes)) {
    mark.kind = Landmark::Kind::kBlockHeader;
  }
  return mark;
}

// A decoder and what it writes to.
class Salvager {
 public:
  Salvager(const RandomAccessFile& file, const BlockPlace& place)
      : file_(file), place_(place), input_(place.offset, Available(file, place)) {}

  SalvagedBlock& block() { return block_; }
  Status Start(uint64_t memory_limit_bytes);
  // Errors mean damage, except those of `take`, which it puts into `*refused`.
  Status Run(const std::function<Status(std::span<const std::byte>)>& take, Status* refused);
  uint64_t position() const { return input_.position(); }

 private:
  // Bytes that may belong to the Block.
  static uint64_t Available(const RandomAccessFile& file, const BlockPlace& place) {
    const uint64_t left = file.size() - std::min(place.offset, file.size());
    return place.unpadded_size ? std::min(left, (*place.unpadded_size + 3) & ~uint64_t{3}) : left;
  }
  Status ApplyIndex();

  const RandomAccessFile& file_;
  const BlockPlace& place_;
  SalvagedBlock block_;
  CompressedInput input_;
  XzHeader header_;    // stream_'s coder refers to it
  LzmaStream stream_;  // hence destroyed first
};

Status Salvager::Start(uint64_t memory_limit_bytes) {
  XZFS_RETURN_IF_ERROR(
      input_.Fill(file_, std::min<size_t>(kLargestBlockHeader, input_.capacity())));
  XZFS_RETURN_IF_ERROR(DecodeXzHeader(input_.buffer(), place_.check, &header_));
  lzma_block& info = header_.block;
  if (info.uncompressed_size != LZMA_VLI_UNKNOWN) {
    block_.plain_size = info.uncompressed_size;
  }
  if (info.compressed_size != LZMA_VLI_UNKNOWN) {
    block_.stored_bytes = lzma_block_total_size(&info);
  }
  XZFS_RETURN_IF_ERROR(ApplyIndex());
  if (info.uncompressed_size != LZMA_VLI_UNKNOWN) {
    ClampDictionary(info.uncompressed_size, &header_);
  }
  const uint64_t needed = lzma_raw_decoder_memusage(header_.filters.get());
  if (needed == UINT64_MAX) {
    return FailLzma(LZMA_OPTIONS_ERROR, "the Block Header");
  }
  if (needed > memory_limit_bytes) {
    return FailMemoryLimit(needed, memory_limit_bytes);
  }
  if (const lzma_ret ret = lzma_block_decoder(stream_.get(), &info); ret != LZMA_OK) {
    return FailLzma(ret, "the Block Header");
  }
  input_.Consume(info.header_size);
  return {};
}

Status Salvager::ApplyIndex() {
  lzma_block& info = header_.block;
  if (place_.unpadded_size && lzma_block_compressed_size(&info, *place_.unpadded_size) != LZMA_OK) {
    return Fail(EIO, "the Block Header and the Index do not agree on the compressed size");
  }
  if (place_.plain_size) {
    if (info.uncompressed_size != LZMA_VLI_UNKNOWN &&
        info.uncompressed_size != *place_.plain_size) {
      return Fail(EIO, "the Block Header and the Index do not agree on the plain size");
    }
    info.uncompressed_size = *place_.plain_size;
  }
  return {};
}

Status Salvager::Run(const std::function<Status(std::span<const std::byte>)>& take,
                     Status* refused) {
  const uint64_t most = std::clamp<uint64_t>(header_.block.uncompressed_size, 1, kPartBytes);
  std::vector<std::byte> part(static_cast<size_t>(most));
  while (true) {
    const auto step = RunCoder(stream_.get(), &input_, file_, part);
    // These bytes were decoded even if there is an error.
    const auto bytes = std::span<const std::byte>(part).first(part.size() - stream_->avail_out);
    *refused = bytes.empty() ? Status() : take(bytes);
    if (!*refused) {
      return {};
    }
    block_.plain_bytes += bytes.size();
    if (!step) {
      return Failure(step.error());
    }
    if (step->ended) {
      return {};
    }
  }
}

}  // namespace

Landmark LandmarkAt(const RandomAccessFile& file, uint64_t offset, uint64_t memory_limit_bytes) {
  std::array<uint8_t, kLargestBlockHeader> buffer;
  const std::span<const uint8_t> bytes = ReadSome(file, offset, buffer);
  if (!bytes.empty() && bytes[0] == 0) {
    return IndexAt(file, offset, memory_limit_bytes, bytes);
  }
  return HeaderIn(bytes, offset);
}

Result<Landmark> FindLandmark(const RandomAccessFile& file, uint64_t begin,
                              const std::atomic<bool>& cancelled) {
  std::vector<uint8_t> window(kWindowBytes + kLargestBlockHeader);
  for (uint64_t at = (begin + 3) & ~uint64_t{3}; at < file.size(); at += kWindowBytes) {
    if (cancelled) {
      return Fail(ECANCELED, "cancelled");
    }
    const std::span<const uint8_t> bytes = ReadSome(file, at, window);
    for (size_t i = 0; i < std::min(bytes.size(), kWindowBytes); i += 4) {
      const Landmark mark = HeaderIn(bytes.subspan(i), at + i);
      if (mark.kind != Landmark::Kind::kNothing) {
        return mark;
      }
    }
  }
  return Landmark{.offset = file.size(), .end = file.size()};
}

Result<SalvagedBlock> SalvageBlock(const RandomAccessFile& file, const BlockPlace& place,
                                   uint64_t memory_limit_bytes,
                                   const std::function<Status(std::span<const std::byte>)>& take) {
  Salvager salvager(file, place);
  Status refused;
  Status status = salvager.Start(memory_limit_bytes);
  if (status) {
    status = salvager.Run(take, &refused);
  }
  if (!refused) {
    return Failure(refused.error());
  }
  SalvagedBlock block = salvager.block();
  block.end = salvager.position();
  if (!status) {
    block.damage = status.error();
  }
  return block;
}

}  // namespace xzfs
