// The Index of a .xz file. Streams are read from the file's end to its start.
//
// Each Stream ends with a Footer that says how long the Index before it is. The Index says how long
// the Blocks before it are. Before those is the Stream Header. Before that is the end of another
// Stream, perhaps followed by Stream Padding. liblzma parses each part; how the parts fit together
// is checked here, because only this code knows where they are.
#include <lzma.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/try.h"
#include "xz/block_index_builder.h"
#include "xz/lzma_util.h"
#include "xz/tail_window.h"

namespace xzfs {

namespace {

constexpr uint64_t kHeaderBytes = LZMA_STREAM_HEADER_SIZE;
// A Stream with no Blocks: Header, Index and Footer.
constexpr uint64_t kSmallestStream = kHeaderBytes + 8 + kHeaderBytes;

// Real padding fills up a tape's or disk's block. All of it has to be read, at about 1 s a GiB from
// a fast disk, and a sparse file can have any amount at no cost: this bounds the time.
constexpr uint64_t kMostPadding = uint64_t{1} << 30;

// The part of an Index that the tail window did not catch is read in pieces of this size at most:
// it holds 2 million Records, more than the default limit allows, so usually one read is enough.
constexpr uint64_t kLargestPiece = uint64_t{16} << 20;

struct IndexDeleter {
  void operator()(lzma_index* index) const { lzma_index_end(index, nullptr); }
};
using IndexPtr = std::unique_ptr<lzma_index, IndexDeleter>;

// Feeds an Index to liblzma's decoder in pieces.
class IndexFeeder {
 public:
  IndexFeeder() = default;
  ~IndexFeeder() { lzma_index_end(index_, nullptr); }
  IndexFeeder(const IndexFeeder&) = delete;
  IndexFeeder& operator=(const IndexFeeder&) = delete;

  // Begins an Index of `bytes`.
  Status Start(uint64_t bytes, uint64_t memory_limit_bytes) {
    // A Record takes two bytes at least.
    possible_bytes_ = lzma_index_memusage(1, bytes / 2);
    const lzma_ret ret =
        lzma_index_decoder(stream_.get(), &index_, std::min(memory_limit_bytes, possible_bytes_));
    return ret == LZMA_OK ? Status() : FailLzma(ret, "the Index");
  }

  Status Feed(std::span<const uint8_t> piece) {
    if (piece.empty()) {
      return {};
    }
    if (ended_) {
      return Fail(EIO, "the Index is shorter than the Stream Footer says");
    }
    stream_->next_in = piece.data();
    stream_->avail_in = piece.size();
    const lzma_ret ret = lzma_code(stream_.get(), LZMA_RUN);
    ended_ = ret == LZMA_STREAM_END;
    if (ret == LZMA_MEMLIMIT_ERROR) {
      const uint64_t needed = lzma_memusage(stream_.get());
      if (needed > possible_bytes_) {
        return Fail(EIO, "the Index says that it has more Blocks than fit into it");
      }
      return Fail(EFBIG, "the Index has so many Blocks that reading it needs " +
                             std::to_string(needed) + " bytes of memory; raise the limit");
    }
    if (ret != LZMA_OK && !ended_) {
      return FailLzma(ret, "the Index or its CRC32");
    }
    if (ended_ && stream_->avail_in > 0) {
      return Fail(EIO, "the Index is shorter than the Stream Footer says");
    }
    return {};
  }

  Result<IndexPtr> Finish() {
    if (!ended_) {
      return Fail(EIO, "the Index is longer than the Stream Footer says");
    }
    return IndexPtr(std::exchange(index_, nullptr));
  }

 private:
  lzma_index* index_ = nullptr;  // set by the decoder when it reaches the Index's end
  LzmaStream stream_;
  uint64_t possible_bytes_ = 0;  // of memory, for the most Records that the Index can have
  bool ended_ = false;
};

// How many bytes come before the zeros at the end. Zeros count in fours.
size_t WithoutPadding(std::span<const uint8_t> bytes) {
  // Long padding is compared in large pieces, which takes a tenth of the time.
  static constexpr std::array<uint8_t, 4096> kZeros{};
  size_t left = bytes.size();
  while (left >= kZeros.size() &&
         std::memcmp(bytes.data() + left - kZeros.size(), kZeros.data(), kZeros.size()) == 0) {
    left -= kZeros.size();
  }
  while (left >= 4 && LoadLe32(bytes.data() + left - 4) == 0) {
    left -= 4;
  }
  return left;
}

class XzIndexReader {
 public:
  XzIndexReader(const RandomAccessFile& file, const BlockIndexOptions& limits)
      : file_(file),
        limits_(limits),
        // The window must not use up a small limit.
        window_(file, limits.memory_limit_bytes / 4),
        builder_(Format::kXz, limits) {}

  Result<BlockIndex> Read();

 private:
  // The end of the Stream that ends at `end`, or before the Stream Padding that ends there.
  Result<uint64_t> SkipPadding(uint64_t end);
  // Adds the Stream that ends at `end` and returns where it starts.
  Result<uint64_t> ReadStream(uint64_t end);
  Result<IndexPtr> ReadIndex(uint64_t begin, uint64_t end);
  Status CheckHeader(uint64_t offset, const lzma_stream_flags& footer);
  Status AddBlocks(uint64_t stream_offset, const lzma_stream_flags& footer,
                   const lzma_index* index);

  const RandomAccessFile& file_;
  const BlockIndexOptions limits_;
  TailWindow window_;
  BlockIndexBuilder builder_;
  uint64_t padding_ = 0;  // of all Streams so far
};

Result<BlockIndex> XzIndexReader::Read() {
  uint64_t end = file_.size();
  if (end < kSmallestStream) {
    return Fail(EIO, "the file is truncated: it has " + std::to_string(end) +
                         " bytes, the smallest .xz file has " + std::to_string(kSmallestStream));
  }
  if (end % 4 != 0) {
    return Fail(EIO,
                "the file is truncated or something was appended: its size is not a multiple of 4");
  }
  while (end > 0) {
    XZFS_ASSIGN_OR_RETURN(end, SkipPadding(end));
    if (end < kSmallestStream) {
      return Fail(EIO, "a Stream begins before the start of the file: its beginning is missing");
    }
    XZFS_ASSIGN_OR_RETURN(end, ReadStream(end));
  }
  return builder_.Finish();
}

Result<uint64_t> XzIndexReader::SkipPadding(uint64_t end) {
  while (end > 0) {
    XZFS_ASSIGN_OR_RETURN(const std::span<const uint8_t> held, window_.Before(end, 4));
    const size_t left = WithoutPadding(held);
    const uint64_t zeros = held.size() - left;
    padding_ += zeros;
    end -= zeros;
    if (padding_ > kMostPadding) {
      return Fail(EFBIG, "there is more than 1 GiB of Stream Padding; remove it to read the file");
    }
    if (left >= 4) {
      break;
    }
  }
  return end;
}

Result<uint64_t> XzIndexReader::ReadStream(uint64_t end) {
  const uint64_t index_end = end - kHeaderBytes;
  lzma_stream_flags footer{};
  {
    XZFS_ASSIGN_OR_RETURN(const std::span<const uint8_t> bytes,
                          window_.At(index_end, kHeaderBytes));
    switch (const lzma_ret ret = lzma_stream_footer_decode(&footer, bytes.data())) {
      case LZMA_OK:
        break;
      case LZMA_FORMAT_ERROR:
        return Fail(EIO,
                    "no Stream Footer at the end of a Stream: the file is truncated or something "
                    "was appended");
      case LZMA_DATA_ERROR:
        return Fail(EIO, "the Stream Footer's CRC32 is wrong: it is damaged");
      default:
        return FailLzma(ret, "the Stream Footer");
    }
  }
  if (footer.backward_size > index_end - kHeaderBytes) {
    return Fail(EIO,
                "the Index would begin before the start of the file: its beginning is missing");
  }
  const uint64_t index_begin = index_end - footer.backward_size;
  XZFS_ASSIGN_OR_RETURN(const IndexPtr index, ReadIndex(index_begin, index_end));
  const uint64_t blocks_bytes = lzma_index_total_size(index.get());
  if (blocks_bytes > index_begin - kHeaderBytes) {
    return Fail(EIO,
                "the Blocks would begin before the start of the file: its beginning is missing");
  }
  const uint64_t stream_offset = index_begin - blocks_bytes - kHeaderBytes;
  XZFS_RETURN_IF_ERROR(CheckHeader(stream_offset, footer));
  XZFS_RETURN_IF_ERROR(AddBlocks(stream_offset, footer, index.get()));
  return stream_offset;
}

Result<IndexPtr> XzIndexReader::ReadIndex(uint64_t begin, uint64_t end) {
  if (end - begin <= TailWindow::kSmallest) {
    // For a small Stream: those before it are read next.
    XZFS_RETURN_IF_ERROR(window_.Before(end, end - begin));
  }
  const uint64_t held_begin = std::clamp(window_.start(), begin, end);
  const uint64_t piece_bytes =
      std::min({held_begin - begin, kLargestPiece,
                std::max(limits_.memory_limit_bytes / 4, TailWindow::kSmallest)});
  std::vector<uint8_t> piece(static_cast<size_t>(piece_bytes));
  IndexFeeder feeder;
  XZFS_RETURN_IF_ERROR(
      feeder.Start(end - begin, builder_.Room(window_.memory_bytes() + piece_bytes)));
  uint64_t at = begin;
  while (at < held_begin) {
    piece.resize(static_cast<size_t>(std::min(piece_bytes, held_begin - at)));
    XZFS_RETURN_IF_ERROR(ReadFully(file_, at, std::as_writable_bytes(std::span(piece))));
    XZFS_RETURN_IF_ERROR(feeder.Feed(piece));
    at += piece.size();
  }
  XZFS_RETURN_IF_ERROR(feeder.Feed(window_.Held(held_begin, end)));
  return feeder.Finish();
}

Status XzIndexReader::CheckHeader(uint64_t offset, const lzma_stream_flags& footer) {
  XZFS_ASSIGN_OR_RETURN(const std::span<const uint8_t> bytes, window_.At(offset, kHeaderBytes));
  lzma_stream_flags header{};
  switch (const lzma_ret ret = lzma_stream_header_decode(&header, bytes.data())) {
    case LZMA_OK:
      break;
    case LZMA_FORMAT_ERROR:
      return Fail(EIO, "no Stream Header where the Index says that the Stream begins");
    case LZMA_DATA_ERROR:
      return Fail(EIO, "the Stream Header's CRC32 is wrong: it is damaged");
    default:
      return FailLzma(ret, "the Stream Header");
  }
  if (lzma_stream_flags_compare(&header, &footer) != LZMA_OK) {
    return Fail(EIO, "the Stream Header and the Stream Footer do not agree");
  }
  return {};
}

Status XzIndexReader::AddBlocks(uint64_t stream_offset, const lzma_stream_flags& footer,
                                const lzma_index* index) {
  const uint64_t transient = window_.memory_bytes() + lzma_index_memused(index);
  XZFS_RETURN_IF_ERROR(builder_.BeginStream(static_cast<Check>(footer.check),
                                            lzma_index_block_count(index), transient));
  lzma_index_iter iter;
  lzma_index_iter_init(&iter, index);
  while (lzma_index_iter_next(&iter, LZMA_INDEX_ITER_BLOCK) == 0) {
    XZFS_RETURN_IF_ERROR(builder_.AddBlock(stream_offset + iter.block.compressed_stream_offset,
                                           iter.block.unpadded_size, iter.block.uncompressed_size));
  }
  builder_.EndStream();
  return {};
}

}  // namespace

Result<BlockIndex> ReadXzIndex(const RandomAccessFile& file, const BlockIndexOptions& limits) {
  return XzIndexReader(file, limits).Read();
}

}  // namespace xzfs
