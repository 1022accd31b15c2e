#include "xz/stream_encoder.h"

#include <lzma.h>

#include <cerrno>
#include <string>
#include <variant>

#include "base/try.h"
#include "xz/filter_chain.h"

namespace xzfs {
namespace {

constexpr uint64_t kNoLimit = UINT64_MAX;

Result<FilterChain> ChainOf(const CompressOptions& options) {
  if (!options.filters.empty()) {
    return FilterChain::Make(options.filters);
  }
  if (options.format == Format::kRaw) {
    return Fail(EINVAL, "a raw stream needs a chain of filters: give one");
  }
  const Lzma2 lzma2{.preset = options.preset, .extreme = options.extreme};
  const Lzma1 lzma1{.preset = options.preset, .extreme = options.extreme};
  const Filter filter = options.format == Format::kXz ? Filter(lzma2) : Filter(lzma1);
  return FilterChain::Make(std::span(&filter, 1));
}

Status Validate(const CompressOptions& options) {
  if (options.format == Format::kAuto || options.format == Format::kLzip) {
    return Fail(EINVAL, "liblzma can only write .xz, .lzma and raw streams: choose one of these");
  }
  if (options.format != Format::kXz && options.check.value_or(Check::kNone) != Check::kNone) {
    return Fail(EINVAL, "only .xz has Checks: leave `check` unset for .lzma and raw streams");
  }
  if (options.format == Format::kLzmaAlone && !options.filters.empty() &&
      (options.filters.size() != 1 || !std::holds_alternative<Lzma1>(options.filters[0]))) {
    return Fail(EINVAL, "a .lzma file has one filter, an Lzma1");
  }
  return {};
}

}  // namespace

Status StreamEncoder::Start(const CompressOptions& options) {
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
    case Format::kXz:
      ret = lzma_stream_encoder(stream_.get(), chain.get(),
                                static_cast<lzma_check>(options.check.value_or(Check::kCrc64)));
      break;
    case Format::kLzmaAlone:
      ret = lzma_alone_encoder(stream_.get(), &chain.lzma());
      break;
    case Format::kRaw:
      ret = lzma_raw_encoder(stream_.get(), chain.get());
      break;
    case Format::kAuto:
    case Format::kLzip:
      break;
  }
  return ret == LZMA_OK ? Status() : FailOptions(ret, "preparing the encoder");
}

Result<Coded> StreamEncoder::Run(std::span<const std::byte> plain, std::span<std::byte> out) {
  return plain.empty() ? Coded() : Code(plain, out, LZMA_RUN);
}

Result<Coded> StreamEncoder::Finish(std::span<std::byte> out) { return Code({}, out, LZMA_FINISH); }

Result<Coded> StreamEncoder::Code(std::span<const std::byte> plain, std::span<std::byte> out,
                                  lzma_action action) {
  stream_->next_in = reinterpret_cast<const uint8_t*>(plain.data());
  stream_->avail_in = plain.size();
  stream_->next_out = reinterpret_cast<uint8_t*>(out.data());
  stream_->avail_out = out.size();
  while (stream_->avail_out != 0 && !ended_ && (action == LZMA_FINISH || stream_->avail_in != 0)) {
    const lzma_ret ret = lzma_code(stream_.get(), action);
    ended_ = ret == LZMA_STREAM_END;
    if (ret != LZMA_OK && !ended_) {
      return FailLzma(ret, "compressing");
    }
  }
  return Coded{plain.size() - stream_->avail_in, out.size() - stream_->avail_out};
}

}  // namespace xzfs
