#include "xz/stream_decoder.h"

#include <lzma.h>

#include <cerrno>

#include "base/try.h"
#include "xz/filter_chain.h"

namespace xzfs {
namespace {

// No dictionary of the formats is larger.
constexpr uint64_t kLargestMemory = uint64_t{4} << 30;

// Whether bytes behind the end can be distinguished from the next Stream.
bool HasSeveralStreams(const DecompressOptions& options) {
  return options.concatenated && options.format != Format::kRaw &&
         options.format != Format::kLzmaAlone;
}

}  // namespace

StreamDecoder::StreamDecoder(const DecompressOptions& options)
    : concatenated_(HasSeveralStreams(options)),
      memory_limit_bytes_(options.memory_limit_bytes.value_or(kLargestMemory)) {}

Status StreamDecoder::StartRaw(const DecompressOptions& options) {
  XZFS_ASSIGN_OR_RETURN(const FilterChain chain, FilterChain::Make(options.filters));
  const uint64_t needed = lzma_raw_decoder_memusage(chain.get());
  if (needed != UINT64_MAX && needed > memory_limit_bytes_) {
    return FailMemoryLimit(needed, memory_limit_bytes_);
  }
  const lzma_ret ret = lzma_raw_decoder(stream_.get(), chain.get());
  return ret == LZMA_OK ? Status() : FailOptions(ret, "preparing the decoder");
}

Status StreamDecoder::Start(const DecompressOptions& options) {
  if (options.format != Format::kRaw && !options.filters.empty()) {
    return Fail(EINVAL, "give filters for raw streams only: other formats store theirs");
  }
  // With this the Check is known as soon as a header was read.
  const uint32_t flags =
      LZMA_TELL_ANY_CHECK | LZMA_TELL_NO_CHECK | (concatenated_ ? uint32_t{LZMA_CONCATENATED} : 0);
  lzma_ret ret = LZMA_OK;
  switch (options.format) {
    case Format::kAuto:
      ret = lzma_auto_decoder(stream_.get(), memory_limit_bytes_, flags);
      break;
    case Format::kXz:
      ret = lzma_stream_decoder(stream_.get(), memory_limit_bytes_, flags);
      break;
    case Format::kLzmaAlone:
      check_ = Check::kNone;
      ret = lzma_alone_decoder(stream_.get(), memory_limit_bytes_);
      break;
    case Format::kLzip:
      ret = lzma_lzip_decoder(stream_.get(), memory_limit_bytes_, flags);
      break;
    case Format::kRaw:
      check_ = Check::kNone;
      return StartRaw(options);
  }
  return ret == LZMA_OK ? Status() : FailOptions(ret, "preparing the decoder");
}

Failure<> StreamDecoder::FailDecoding(lzma_ret ret) {
  if (ret == LZMA_MEMLIMIT_ERROR) {
    return FailMemoryLimit(lzma_memusage(stream_.get()), memory_limit_bytes_);
  }
  return FailLzma(ret, "the compressed data");
}

Result<Coded> StreamDecoder::Run(std::span<const std::byte> compressed, std::span<std::byte> out) {
  return Code(compressed, out, LZMA_RUN);
}

Result<Coded> StreamDecoder::Code(std::span<const std::byte> compressed, std::span<std::byte> out,
                                  lzma_action action) {
  stream_->next_in = reinterpret_cast<const uint8_t*>(compressed.data());
  stream_->avail_in = compressed.size();
  stream_->next_out = reinterpret_cast<uint8_t*>(out.data());
  stream_->avail_out = out.size();
  has_output_ = true;
  while (stream_->avail_out != 0 && has_output_ && !eof_) {
    const lzma_ret ret = lzma_code(stream_.get(), action);
    if (ret == LZMA_STREAM_END) {
      eof_ = true;
    } else if (ret == LZMA_GET_CHECK || ret == LZMA_NO_CHECK) {
      check_ = static_cast<Check>(lzma_get_check(stream_.get()));
    } else if (ret == LZMA_BUF_ERROR && action == LZMA_RUN) {
      has_output_ = false;  // no progress although there was room: it waits for input
    } else if (ret != LZMA_OK) {
      return FailDecoding(ret);
    } else if (stream_->avail_in == 0 && stream_->avail_out != 0 && action == LZMA_RUN) {
      has_output_ = false;
    }
  }
  return Coded{compressed.size() - stream_->avail_in, out.size() - stream_->avail_out};
}

Status StreamDecoder::Finish() {
  if (concatenated_ && !eof_) {
    std::byte spare;
    const Result<Coded> rest = Code({}, std::span(&spare, 1), LZMA_FINISH);
    if (!rest && rest.error().code != EIO) {
      return Failure(rest.error());
    }
  }
  return eof_ ? Status() : Fail(EIO, "the compressed data ends early");
}

}  // namespace xzfs
