// Decompressor and Decompress of xzfs/codec.h.
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

// No dictionary of the formats is larger.
constexpr uint64_t kLargestMemory = uint64_t{4} << 30;

// Whether what follows an end can be told from the next Stream.
bool HasSeveralStreams(const DecompressOptions& options) {
  return options.concatenated && options.format != StreamFormat::kRaw &&
         options.format != StreamFormat::kLzmaAlone;
}

// Input that wasn't needed yet. To take some of it costs nothing: what is left is moved when more
// comes, and then only if at least as much was taken since.
class KeptInput {
 public:
  std::span<const std::byte> left() const { return std::span(bytes_).subspan(begin_); }

  void Add(std::span<const std::byte> more) {
    if (begin_ > bytes_.size() / 2) {
      bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<ptrdiff_t>(begin_));
      begin_ = 0;
    }
    bytes_.insert(bytes_.end(), more.begin(), more.end());
  }

  void Take(size_t count) {
    begin_ += count;
    if (begin_ == bytes_.size()) {
      *this = KeptInput();
    }
  }

 private:
  Bytes bytes_;
  size_t begin_ = 0;
};

}  // namespace

class Decompressor::Impl {
 public:
  explicit Impl(const DecompressOptions& options)
      : concatenated_(HasSeveralStreams(options)),
        memory_limit_bytes_(options.memory_limit_bytes.value_or(kLargestMemory)) {}

  Status Start(const DecompressOptions& options);
  Result<Bytes> Decompress(std::span<const std::byte> compressed, size_t most_bytes);
  Status Finish();

  bool eof() const { return eof_; }
  bool needs_input() const { return !eof_ && !has_output_; }
  const Bytes& unused_data() const { return unused_; }
  Check check() const { return check_; }

 private:
  Result<Bytes> Code(std::span<const std::byte> compressed, size_t most_bytes, lzma_action action);
  Status StartRaw(const DecompressOptions& options);
  Failure<> FailDecoding(lzma_ret ret);

  const bool concatenated_;
  const uint64_t memory_limit_bytes_;
  LzmaStream stream_;
  Status state_;             // what every further call returns, if it is an error
  KeptInput kept_;           // none after the end
  Bytes unused_;             // what follows the end
  bool has_output_ = false;  // there may be more without more input
  bool eof_ = false;
  Check check_ = Check::kUnknown;
};

Status Decompressor::Impl::StartRaw(const DecompressOptions& options) {
  XZFS_ASSIGN_OR_RETURN(const FilterChain chain, FilterChain::Make(options.filters));
  const uint64_t needed = lzma_raw_decoder_memusage(chain.get());
  if (needed != UINT64_MAX && needed > memory_limit_bytes_) {
    return FailMemoryLimit(needed, memory_limit_bytes_);
  }
  const lzma_ret ret = lzma_raw_decoder(stream_.get(), chain.get());
  return ret == LZMA_OK ? Status() : FailOptions(ret, "preparing the decoder");
}

Status Decompressor::Impl::Start(const DecompressOptions& options) {
  if (options.format != StreamFormat::kRaw && !options.filters.empty()) {
    return Fail(EINVAL, "only raw streams are decompressed with given filters: others name theirs");
  }
  // So that the Check is known as soon as a header was read.
  const uint32_t flags =
      LZMA_TELL_ANY_CHECK | LZMA_TELL_NO_CHECK | (concatenated_ ? uint32_t{LZMA_CONCATENATED} : 0);
  lzma_ret ret = LZMA_OK;
  switch (options.format) {
    case StreamFormat::kAuto:
      ret = lzma_auto_decoder(stream_.get(), memory_limit_bytes_, flags);
      break;
    case StreamFormat::kXz:
      ret = lzma_stream_decoder(stream_.get(), memory_limit_bytes_, flags);
      break;
    case StreamFormat::kLzmaAlone:
      check_ = Check::kNone;
      ret = lzma_alone_decoder(stream_.get(), memory_limit_bytes_);
      break;
    case StreamFormat::kLzip:
      ret = lzma_lzip_decoder(stream_.get(), memory_limit_bytes_, flags);
      break;
    case StreamFormat::kRaw:
      check_ = Check::kNone;
      return StartRaw(options);
  }
  return ret == LZMA_OK ? Status() : FailOptions(ret, "preparing the decoder");
}

Failure<> Decompressor::Impl::FailDecoding(lzma_ret ret) {
  if (ret == LZMA_MEMLIMIT_ERROR) {
    return FailMemoryLimit(lzma_memusage(stream_.get()), memory_limit_bytes_);
  }
  return FailLzma(ret, "decompressing");
}

// What the coder leaves of `compressed` is stream_->avail_in.
Result<Bytes> Decompressor::Impl::Code(std::span<const std::byte> compressed, size_t most_bytes,
                                       lzma_action action) {
  CoderOutput out(most_bytes);
  stream_->next_in = reinterpret_cast<const uint8_t*>(compressed.data());
  stream_->avail_in = compressed.size();
  has_output_ = true;
  while (!out.full()) {
    const lzma_ret ret = out.Run(stream_.get(), action);
    if (ret == LZMA_STREAM_END) {
      eof_ = true;
      break;
    }
    if (ret == LZMA_GET_CHECK || ret == LZMA_NO_CHECK) {
      check_ = static_cast<Check>(lzma_get_check(stream_.get()));
      continue;
    }
    // Without progress, and there was room: it waits for input.
    if (ret == LZMA_BUF_ERROR && action == LZMA_RUN) {
      has_output_ = false;
      break;
    }
    if (ret != LZMA_OK) {
      return FailDecoding(ret);
    }
    if (stream_->avail_in == 0 && stream_->avail_out != 0 && action == LZMA_RUN) {
      has_output_ = false;
      break;
    }
  }
  return out.Take();
}

Result<Bytes> Decompressor::Impl::Decompress(std::span<const std::byte> compressed,
                                             size_t most_bytes) try {
  XZFS_RETURN_IF_ERROR(state_);
  if (eof_) {
    return Fail(EINVAL, "the end is reached: use a new Decompressor for what follows");
  }
  const bool is_kept = !kept_.left().empty();
  if (is_kept) {
    kept_.Add(compressed);
    compressed = kept_.left();
  }
  Result<Bytes> out = Code(compressed, most_bytes, LZMA_RUN);
  if (!out) {
    state_ = Failure(out.error());
    return out;
  }
  const std::span<const std::byte> left = compressed.last(stream_->avail_in);
  if (eof_) {
    unused_.assign(left.begin(), left.end());
    kept_ = KeptInput();
  } else if (is_kept) {
    kept_.Take(compressed.size() - left.size());
  } else {
    kept_.Add(left);
  }
  return out;
} catch (const std::bad_alloc&) {
  state_ = Fail(ENOMEM, "out of memory while decompressing");
  return Failure(state_.error());
}

Status Decompressor::Impl::Finish() {
  XZFS_RETURN_IF_ERROR(state_);
  if (eof_) {
    return {};
  }
  if (has_output_) {
    return Fail(EINVAL, "there is output left: call Decompress until needs_input()");
  }
  if (concatenated_) {
    const Result<Bytes> rest = Code({}, 1, LZMA_FINISH);
    if (!rest && rest.error().code != EIO) {
      state_ = Failure(rest.error());
    }
  }
  if (state_ && !eof_) {
    state_ = Fail(EIO, "decompressing: the data ends early");
  }
  return state_;
}

Decompressor::Decompressor(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Decompressor::~Decompressor() = default;
Decompressor::Decompressor(Decompressor&& other) noexcept = default;
Decompressor& Decompressor::operator=(Decompressor&& other) noexcept = default;

Result<Decompressor> Decompressor::Create(const DecompressOptions& options) {
  auto impl = std::make_unique<Impl>(options);
  XZFS_RETURN_IF_ERROR(impl->Start(options));
  return Decompressor(std::move(impl));
}

Result<Bytes> Decompressor::Decompress(std::span<const std::byte> compressed, size_t most_bytes) {
  return impl_->Decompress(compressed, most_bytes);
}
Status Decompressor::Finish() { return impl_->Finish(); }
bool Decompressor::eof() const { return impl_->eof(); }
bool Decompressor::needs_input() const { return impl_->needs_input(); }
const Bytes& Decompressor::unused_data() const { return impl_->unused_data(); }
Check Decompressor::check() const { return impl_->check(); }

Result<Bytes> Decompress(std::span<const std::byte> compressed, const DecompressOptions& options) {
  XZFS_ASSIGN_OR_RETURN(Decompressor decompressor, Decompressor::Create(options));
  XZFS_ASSIGN_OR_RETURN(Bytes out, decompressor.Decompress(compressed));
  XZFS_RETURN_IF_ERROR(decompressor.Finish());
  if (!decompressor.unused_data().empty()) {
    return Fail(EIO, "decompressing: " + std::to_string(decompressor.unused_data().size()) +
                         " bytes of something else follow the end");
  }
  return out;
}

bool IsCheckSupported(Check check) {
  return lzma_check_is_supported(static_cast<lzma_check>(check)) != 0;
}

}  // namespace xzfs
