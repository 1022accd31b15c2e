// Compressor and Compress of xzfs/codec.h.
#include <lzma.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

#include "base/try.h"
#include "xz/coder_output.h"
#include "xz/filter_chain.h"
#include "xz/lzma_util.h"
#include "xzfs/codec.h"

namespace xzfs {
namespace {

constexpr uint64_t kNoLimit = UINT64_MAX;

Result<FilterChain> ChainOf(const CompressOptions& options) {
  if (!options.filters.empty()) {
    return FilterChain::Make(options.filters);
  }
  if (options.format == StreamFormat::kRaw) {
    return Fail(EINVAL, "a raw stream is compressed with a chain of filters: give one");
  }
  const FilterId id = options.format == StreamFormat::kXz ? FilterId::kLzma2 : FilterId::kLzma1;
  const Filter filter{.id = id, .preset = options.preset, .extreme = options.extreme};
  return FilterChain::Make(std::span(&filter, 1));
}

Status Validate(const CompressOptions& options) {
  if (options.format == StreamFormat::kAuto || options.format == StreamFormat::kLzip) {
    return Fail(EINVAL, "liblzma compresses to .xz, .lzma and raw streams only: name one");
  }
  if (options.format != StreamFormat::kXz && options.check.value_or(Check::kNone) != Check::kNone) {
    return Fail(EINVAL, "only .xz has Checks: leave `check` unset for .lzma and raw streams");
  }
  if (options.format == StreamFormat::kLzmaAlone && !options.filters.empty() &&
      (options.filters.size() != 1 || options.filters[0].id != FilterId::kLzma1)) {
    return Fail(EINVAL, "a .lzma file has one filter, kLzma1");
  }
  return {};
}

}  // namespace

class Compressor::Impl {
 public:
  Status Start(const CompressOptions& options);
  Result<Bytes> Run(std::span<const std::byte> plain, lzma_action action);

 private:
  Result<Bytes> Code(std::span<const std::byte> plain, lzma_action action);

  LzmaStream stream_;
  Status state_;  // what every further call returns, if it is an error
};

Status Compressor::Impl::Start(const CompressOptions& options) {
  XZFS_RETURN_IF_ERROR(Validate(options));
  XZFS_ASSIGN_OR_RETURN(const FilterChain chain, ChainOf(options));
  const uint64_t needed = lzma_raw_encoder_memusage(chain.get());
  const uint64_t limit = options.memory_limit_bytes.value_or(kNoLimit);
  if (needed == UINT64_MAX) {
    return FailOptions(LZMA_OPTIONS_ERROR, "the filters");
  }
  if (needed > limit) {
    return Fail(EFBIG, "compressing needs " + std::to_string(needed) +
                           " bytes of memory, the limit is " + std::to_string(limit) +
                           "; use a lower preset or a smaller dictionary");
  }
  lzma_ret ret = LZMA_OPTIONS_ERROR;
  switch (options.format) {
    case StreamFormat::kXz:
      ret = lzma_stream_encoder(stream_.get(), chain.get(),
                                static_cast<lzma_check>(options.check.value_or(Check::kCrc64)));
      break;
    case StreamFormat::kLzmaAlone:
      ret = lzma_alone_encoder(stream_.get(), &chain.lzma());
      break;
    case StreamFormat::kRaw:
      ret = lzma_raw_encoder(stream_.get(), chain.get());
      break;
    case StreamFormat::kAuto:
    case StreamFormat::kLzip:
      break;
  }
  return ret == LZMA_OK ? Status() : FailOptions(ret, "preparing the encoder");
}

Result<Bytes> Compressor::Impl::Run(std::span<const std::byte> plain, lzma_action action) {
  XZFS_RETURN_IF_ERROR(state_);
  Result<Bytes> out = Code(plain, action);
  if (!out) {
    state_ = Failure(out.error());
  } else if (action == LZMA_FINISH) {
    state_ = Fail(EINVAL, "the Stream is finished: use a new Compressor for more");
  }
  return out;
}

Result<Bytes> Compressor::Impl::Code(std::span<const std::byte> plain, lzma_action action) try {
  CoderOutput out(Decompressor::kNoLimit);
  stream_->next_in = reinterpret_cast<const uint8_t*>(plain.data());
  stream_->avail_in = plain.size();
  while (action == LZMA_FINISH || stream_->avail_in != 0) {
    const lzma_ret ret = out.Run(stream_.get(), action);
    if (ret == LZMA_STREAM_END) {
      break;
    }
    if (ret != LZMA_OK) {
      return FailLzma(ret, "compressing");
    }
  }
  return out.Take();
} catch (const std::bad_alloc&) {
  return Fail(ENOMEM, "out of memory while compressing");
}

Compressor::Compressor(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Compressor::~Compressor() = default;
Compressor::Compressor(Compressor&& other) noexcept = default;
Compressor& Compressor::operator=(Compressor&& other) noexcept = default;

Result<Compressor> Compressor::Create(const CompressOptions& options) {
  auto impl = std::make_unique<Impl>();
  XZFS_RETURN_IF_ERROR(impl->Start(options));
  return Compressor(std::move(impl));
}

Result<Bytes> Compressor::Compress(std::span<const std::byte> plain) {
  return impl_->Run(plain, LZMA_RUN);
}

Result<Bytes> Compressor::Finish() { return impl_->Run({}, LZMA_FINISH); }

Result<Bytes> Compress(std::span<const std::byte> plain, const CompressOptions& options) {
  XZFS_ASSIGN_OR_RETURN(Compressor compressor, Compressor::Create(options));
  XZFS_ASSIGN_OR_RETURN(Bytes out, compressor.Compress(plain));
  XZFS_ASSIGN_OR_RETURN(const Bytes rest, compressor.Finish());
  out.insert(out.end(), rest.begin(), rest.end());
  return out;
}

}  // namespace xzfs
