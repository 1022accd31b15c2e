// A Block Header comes before the data whose sizes it holds. So we leave room for the longest
// header, encode the data behind it, and write the header last, as liblzma's threaded encoder does.
//
// The room behind the header is as large as the stored form of the Block: if the encoder runs out
// of it, the Block is better stored.
#include "xz/block_encoder.h"

#include <lzma.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cerrno>
#include <new>

#include "base/try.h"
#include "xz/incompressible.h"
#include "xz/lzma_util.h"

namespace xzfs {

namespace {

// How much is encoded between two looks at `cancelled`. Measured: at most 45 ms with preset 9e, 2
// ms with preset 0; compared to that one more call of lzma_code costs nothing.
constexpr size_t kStepBytes = size_t{64} << 10;

// The size of `plain_bytes` as uncompressed LZMA2 chunks: each has a header of 3 bytes and up to 64
// KiB, and one byte ends them.
constexpr uint64_t StoredDataBytes(uint64_t plain_bytes) {
  constexpr uint64_t kChunkBytes = uint64_t{64} << 10;
  return plain_bytes + (plain_bytes + kChunkBytes - 1) / kChunkBytes * 3 + 1;
}

constexpr uint64_t Padded(uint64_t bytes) { return (bytes + 3) & ~uint64_t{3}; }

// The smallest dictionary that an LZMA2 header can name and that holds the whole Block, but no
// larger than the preset's. A header can name 2^n and 2^n + 2^(n-1); presets have 2^n.
uint32_t DictionaryBytes(uint32_t preset_bytes, uint64_t plain_bytes) {
  const auto needed =
      static_cast<uint32_t>(std::clamp<uint64_t>(plain_bytes, LZMA_DICT_SIZE_MIN, preset_bytes));
  const uint32_t power = std::bit_floor(needed);
  if (needed == power) {
    return power;
  }
  return needed <= power + power / 2 ? power + power / 2 : power * 2;
}

// The filter chain for a Block of `plain_bytes`. liblzma keeps pointers between its parts.
class Chain {
 public:
  Chain(const EncodeOptions& options, uint64_t plain_bytes) {
    const uint32_t preset = options.preset | (options.extreme ? LZMA_PRESET_EXTREME : 0);
    known_ = options.preset <= 9 && lzma_lzma_preset(&lzma_, preset) == 0;
    if (known_) {
      lzma_.dict_size = DictionaryBytes(lzma_.dict_size, plain_bytes);
    }
  }
  Chain(const Chain&) = delete;
  Chain& operator=(const Chain&) = delete;

  // False if there is no such preset. Then nothing else of this may be used.
  bool known() const { return known_; }
  lzma_filter* get() { return filters_.data(); }

 private:
  bool known_ = false;
  lzma_options_lzma lzma_{};
  std::array<lzma_filter, 2> filters_ = {
      {{LZMA_FILTER_LZMA2, &lzma_}, {LZMA_VLI_UNKNOWN, nullptr}}};
};

const uint8_t* Data(std::span<const std::byte> bytes) {
  return reinterpret_cast<const uint8_t*>(bytes.data());
}

bool IsSet(const std::atomic<bool>* cancelled) {
  return cancelled != nullptr && cancelled->load(std::memory_order_relaxed);
}

Failure<> FailCancelled() { return Fail(ECANCELED, "compressing was cancelled"); }

lzma_block NewBlock(const EncodeOptions& options, uint64_t plain_bytes) {
  lzma_block block{};
  block.version = 1;
  block.check = static_cast<lzma_check>(options.check);
  block.compressed_size = StoredDataBytes(plain_bytes);
  block.uncompressed_size = plain_bytes;
  return block;
}

// Stores `plain` as uncompressed LZMA2 chunks.
Result<EncodedBlock> Store(const EncodeOptions& options, std::span<const std::byte> plain) {
  lzma_block block = NewBlock(options, plain.size());
  EncodedBlock stored;
  stored.bytes.resize(lzma_block_buffer_bound(plain.size()));
  size_t used = 0;
  const lzma_ret ret = lzma_block_uncomp_encode(&block, Data(plain), plain.size(),
                                                reinterpret_cast<uint8_t*>(stored.bytes.data()),
                                                &used, stored.bytes.size());
  if (ret != LZMA_OK) {
    return FailLzma(ret, "storing a Block");
  }
  stored.bytes.resize(used);
  stored.unpadded_size = lzma_block_unpadded_size(&block);
  stored.plain_size = plain.size();
  stored.stored = true;
  return stored;
}

}  // namespace

class BlockEncoder::Impl {
 public:
  explicit Impl(const EncodeOptions& options) : options_(options) {}

  Result<EncodedBlock> Encode(std::span<const std::byte> plain, const std::atomic<bool>* cancelled);
  // Frees what liblzma allocated, together with any state that a failure left there.
  void Release() { lzma_end(stream_.get()); }

 private:
  Result<EncodedBlock> Compress(std::span<const std::byte> plain, Chain& chain,
                                const std::atomic<bool>* cancelled);
  // Runs the encoder over all of `plain`. False if its output doesn't fit into `room`.
  Result<bool> Run(std::span<const std::byte> plain, std::span<uint8_t> room,
                   const std::atomic<bool>* cancelled);
  // Makes buffer_ at least this large. Its content is lost.
  void Reserve(size_t bytes);

  const EncodeOptions options_;
  LzmaStream stream_;
  // The Block that is being made. The buffer is kept, so that the next Block finds its pages
  // mapped.
  std::unique_ptr<uint8_t[]> buffer_;
  size_t buffer_bytes_ = 0;
};

void BlockEncoder::Impl::Reserve(size_t bytes) {
  if (bytes > buffer_bytes_) {
    buffer_bytes_ = 0;
    buffer_.reset();
    buffer_ = std::make_unique_for_overwrite<uint8_t[]>(bytes);
    buffer_bytes_ = bytes;
  }
}

Result<bool> BlockEncoder::Impl::Run(std::span<const std::byte> plain, std::span<uint8_t> room,
                                     const std::atomic<bool>* cancelled) {
  stream_->next_out = room.data();
  stream_->avail_out = room.size();
  while (true) {
    if (IsSet(cancelled)) {
      return FailCancelled();
    }
    const std::span<const std::byte> step = plain.first(std::min(plain.size(), kStepBytes));
    plain = plain.subspan(step.size());
    stream_->next_in = Data(step);
    stream_->avail_in = step.size();
    const lzma_ret ret = lzma_code(stream_.get(), plain.empty() ? LZMA_FINISH : LZMA_RUN);
    if (ret == LZMA_STREAM_END) {
      return true;
    }
    if (ret != LZMA_OK) {
      return FailLzma(ret, "compressing a Block");
    }
    if (stream_->avail_out == 0) {
      return false;
    }
  }
}

Result<EncodedBlock> BlockEncoder::Impl::Compress(std::span<const std::byte> plain, Chain& chain,
                                                  const std::atomic<bool>* cancelled) {
  lzma_block block = NewBlock(options_, plain.size());
  block.filters = chain.get();
  const uint64_t largest_data = block.compressed_size;
  lzma_ret ret = lzma_block_header_size(&block);
  if (ret != LZMA_OK) {
    return FailLzma(ret, "the Block Header");
  }
  const uint64_t room = block.header_size + Padded(largest_data) + lzma_check_size(block.check);
  Reserve(room);
  ret = lzma_block_encoder(stream_.get(), &block);
  if (ret != LZMA_OK) {
    return FailLzma(ret, "preparing the encoder");
  }
  XZFS_ASSIGN_OR_RETURN(
      const bool fits,
      Run(plain, std::span(buffer_.get(), room).subspan(block.header_size), cancelled));
  // LZMA2 itself falls back to uncompressed chunks, mostly of the same size.
  if (!fits || block.compressed_size >= largest_data) {
    return Store(options_, plain);
  }
  ret = lzma_block_header_encode(&block, buffer_.get());
  if (ret != LZMA_OK) {
    return FailLzma(ret, "the Block Header");
  }
  const std::span<const std::byte> used =
      std::as_bytes(std::span(buffer_.get(), lzma_block_total_size(&block)));
  EncodedBlock encoded;
  encoded.bytes.assign(used.begin(), used.end());
  encoded.unpadded_size = lzma_block_unpadded_size(&block);
  encoded.plain_size = plain.size();
  return encoded;
}

Result<EncodedBlock> BlockEncoder::Impl::Encode(std::span<const std::byte> plain,
                                                const std::atomic<bool>* cancelled) try {
  Chain chain(options_, plain.size());
  if (!chain.known()) {
    return Fail(EINVAL,
                "there is no preset " + std::to_string(options_.preset) + "; presets are 0 to 9");
  }
  if (!lzma_check_is_supported(static_cast<lzma_check>(options_.check))) {
    return Fail(EINVAL, "this liblzma can't compute the Check with the ID " +
                            std::to_string(static_cast<unsigned>(options_.check)) +
                            "; use 4, CRC64");
  }
  if (IsSet(cancelled)) {
    return FailCancelled();
  }
  return LooksIncompressible(plain) ? Store(options_, plain) : Compress(plain, chain, cancelled);
} catch (const std::bad_alloc&) {
  return Fail(ENOMEM, "out of memory while compressing a Block");
}

BlockEncoder::BlockEncoder(const EncodeOptions& options) : impl_(std::make_unique<Impl>(options)) {}

BlockEncoder::~BlockEncoder() = default;

Result<EncodedBlock> BlockEncoder::Encode(std::span<const std::byte> plain,
                                          const std::atomic<bool>* cancelled) {
  assert(!plain.empty());
  Result<EncodedBlock> encoded = impl_->Encode(plain, cancelled);
  if (!encoded) {
    impl_->Release();
  }
  return encoded;
}

uint64_t BlockEncoder::MemoryBytes(const EncodeOptions& options, uint64_t plain_bytes) {
  // Impl, the tables of LooksIncompressible, and what malloc adds to a handful of allocations.
  constexpr uint64_t kOwnBytes = uint64_t{64} << 10;
  // The header, padding and Check of a Block.
  constexpr uint64_t kAroundData = LZMA_BLOCK_HEADER_SIZE_MAX + 3 + LZMA_CHECK_SIZE_MAX;
  Chain chain(options, plain_bytes);
  const uint64_t coder_bytes = chain.known() ? lzma_raw_encoder_memusage(chain.get()) : UINT64_MAX;
  if (coder_bytes == UINT64_MAX) {
    return UINT64_MAX;
  }
  return kOwnBytes + coder_bytes + 2 * (StoredDataBytes(plain_bytes) + kAroundData);
}

}  // namespace xzfs
