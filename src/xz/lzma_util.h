// What the xz module needs around liblzma: owners of its C structures, a translation of its errors,
// and a way to feed a decoder from a range of a file.
#pragma once

#include <lzma.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "xz/decoder_arena.h"
#include "xz/restart_point.h"
#include "xzfs/random_access_file.h"
#include "xzfs/result.h"

namespace xzfs {

// The most compressed bytes that a decoder holds: large enough that a system call costs nothing
// next to decoding them (about 1 ms), small enough to keep for every resumable decoder.
inline constexpr size_t kDecoderInputBytes = size_t{128} << 10;

// Owns what a lzma_stream allocated. If its coder failed, the stream can only be destroyed.
class LzmaStream {
 public:
  LzmaStream() = default;
  // Allocates in `arena`, which outlives it.
  explicit LzmaStream(DecoderArena& arena)
      : allocator_{DecoderArena::Allocate, DecoderArena::Free, &arena} {
    stream_.allocator = &allocator_;
  }
  ~LzmaStream() { lzma_end(&stream_); }
  LzmaStream(const LzmaStream&) = delete;
  LzmaStream& operator=(const LzmaStream&) = delete;

  lzma_stream* get() { return &stream_; }
  lzma_stream* operator->() { return &stream_; }

 private:
  lzma_allocator allocator_ = {};
  lzma_stream stream_ = LZMA_STREAM_INIT;
};

// Owns a filter chain whose options liblzma allocated.
class LzmaFilters {
 public:
  LzmaFilters() { chain_[0] = {LZMA_VLI_UNKNOWN, nullptr}; }
  ~LzmaFilters() { lzma_filters_free(chain_, nullptr); }
  LzmaFilters(const LzmaFilters&) = delete;
  LzmaFilters& operator=(const LzmaFilters&) = delete;

  lzma_filter* get() { return chain_; }

 private:
  lzma_filter chain_[LZMA_FILTERS_MAX + 1];
};

// The error for `ret`, which is neither LZMA_OK nor LZMA_STREAM_END: "WHAT: why".
Failure<> FailLzma(lzma_ret ret, const std::string& what);

// The error for a decoder that needs `needed_bytes` but may have `limit_bytes`.
Failure<> FailMemoryLimit(uint64_t needed_bytes, uint64_t limit_bytes);

// RequireLiblzma for a given lzma_version_number().
Status CheckLiblzmaVersion(uint32_t version);

// A range of a file on its way into a decoder. Never reads outside the range. Not thread-safe.
class CompressedInput {
 public:
  // What lies behind the input and may be read, so that a decoder need not look at each byte
  // whether it's the last.
  static constexpr size_t kInputSlack = 32;

  CompressedInput(uint64_t offset, uint64_t size);

  // Where the next byte to be consumed lies in the file.
  uint64_t position() const { return next_read_ - buffered_; }
  // Goes to a position that position() returned once, and frees the buffer until it's needed.
  void Seek(uint64_t position);
  // Bytes of the range that were not consumed, in the buffer or still in the file.
  uint64_t remaining() const { return buffered_ + (end_ - next_read_); }
  // What can be consumed now; kInputSlack more bytes may be read. Writable, so that headers which
  // ask for too much can be changed.
  std::span<uint8_t> buffer() { return {data_.get() + begin_, buffered_}; }
  // Makes `count` bytes of the range, or all that remain, available in buffer().
  // REQUIRES: count <= capacity(). Blocks: on I/O.
  Status Fill(const RandomAccessFile& file, size_t count);
  // REQUIRES: count <= buffer().size().
  void Consume(size_t count);
  size_t capacity() const { return capacity_; }

 private:
  uint64_t next_read_;
  const uint64_t end_;
  const size_t capacity_;
  std::unique_ptr<uint8_t[]> data_;  // null until it's needed
  size_t begin_ = 0;
  size_t buffered_ = 0;
};

// Turns a range of a stored file into plain bytes, step by step. Not thread-safe. After an error it
// is of no further use.
class StepDecoder {
 public:
  struct Progress {
    size_t produced = 0;  // bytes put into `out`
    bool ended = false;   // the data has ended, and all that can be verified was verified
  };

  virtual ~StepDecoder() = default;
  // Fills `out`, unless the data ends first. An empty `out` runs to the end of the data and fails
  // if there are more plain bytes. Blocks: on I/O.
  virtual Result<Progress> Run(const RandomAccessFile& file, std::span<std::byte> out) = 0;
  // What this object holds in memory.
  virtual uint64_t memory_bytes() const = 0;

  // Decodes until the first `end` bytes of `block`, which has room for all plain bytes, are there.
  // Bytes behind `end` may be written. `done`: how many were there. REQUIRES: `block` is the same
  // memory at each call, with what was decoded before; no other kind of Run.
  virtual Result<Progress> RunInto(const RandomAccessFile& file, std::span<std::byte> block,
                                   size_t done, size_t end) {
    return Run(file, block.subspan(done, end - done));
  }

  // Restart points, see BlockDecoder. 0 bytes say that there are none.
  virtual size_t most_history_bytes() { return 0; }
  virtual HistoryPieces history() { return {}; }
  virtual void Save(DecoderMark&) {}
  virtual std::span<std::byte> Restore(const DecoderMark&) { return {}; }
  virtual void FreeMemory() {}
};

// StepDecoder::Run for one initialised lzma_stream: until `out` is full or the coder says that it
// is done.
Result<StepDecoder::Progress> RunCoder(lzma_stream* stream, CompressedInput* input,
                                       const RandomAccessFile& file, std::span<std::byte> out);

// Unaligned little-endian numbers.
uint32_t LoadLe32(const uint8_t* bytes);
uint64_t LoadLe64(const uint8_t* bytes);
void StoreLe32(uint8_t* bytes, uint32_t value);

}  // namespace xzfs
