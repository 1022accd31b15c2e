// Decompressor, Decompress and DecompressStream of xzfs/compress.h: a StreamDecoder that remembers
// its errors, and the input that it was given too early.
//
// A call with a buffer takes only as much input as it needs. A call without one takes all of it,
// and keeps what it doesn't need yet (KeptInput). While input is kept a call with a buffer is
// refused, as the kept input comes first. At the end, what is left of the input is `unused_data`.
#include <array>
#include <cerrno>
#include <new>
#include <string>
#include <utility>

#include "base/try.h"
#include "lib/growing_bytes.h"
#include "lib/stream_buffers.h"
#include "xz/stream_decoder.h"
#include "xzfs/compress.h"

namespace xzfs {
namespace {

// Input that wasn't needed yet. Taking some of it costs nothing. What is left is moved only when
// more comes, and only if at least as much was taken since.
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
  explicit Impl(const DecompressOptions& options) : decoder_(options) {}

  Status Start(const DecompressOptions& options) { return decoder_.Start(options); }
  Result<Coded> Decompress(std::span<const std::byte> compressed, std::span<std::byte> out);
  Result<Bytes> Decompress(std::span<const std::byte> compressed, size_t most_bytes);
  Status Finish();

  bool eof() const { return decoder_.eof(); }
  bool needs_input() const { return !decoder_.eof() && !decoder_.has_output(); }
  const Bytes& unused_data() const { return unused_; }
  std::optional<Check> check() const { return decoder_.check(); }

 private:
  // Whether there may be more calls.
  Status Ready() const;
  Result<Coded> Run(std::span<const std::byte> compressed, std::span<std::byte> out);

  StreamDecoder decoder_;
  Status state_;    // what every further call returns, if it is an error
  KeptInput kept_;  // none after the end
  Bytes unused_;    // what follows the end
};

Status Decompressor::Impl::Ready() const {
  XZFS_RETURN_IF_ERROR(state_);
  return eof() ? Fail(EINVAL, "the end is reached: use a new Decompressor for what follows")
               : Status();
}

Result<Coded> Decompressor::Impl::Run(std::span<const std::byte> compressed,
                                      std::span<std::byte> out) {
  Result<Coded> coded = decoder_.Run(compressed, out);
  if (!coded) {
    state_ = Failure(coded.error());
  }
  return coded;
}

Result<Coded> Decompressor::Impl::Decompress(std::span<const std::byte> compressed,
                                             std::span<std::byte> out) {
  XZFS_RETURN_IF_ERROR(Ready());
  if (!kept_.left().empty()) {
    return Fail(EINVAL, "earlier input is not used up: call Decompress without a buffer first");
  }
  return Run(compressed, out);
}

Result<Bytes> Decompressor::Impl::Decompress(std::span<const std::byte> compressed,
                                             size_t most_bytes) try {
  XZFS_RETURN_IF_ERROR(Ready());
  const bool is_kept = !kept_.left().empty();
  if (is_kept) {
    kept_.Add(compressed);
    compressed = kept_.left();
  }
  GrowingBytes out(most_bytes);
  std::span<const std::byte> left = compressed;
  do {
    XZFS_ASSIGN_OR_RETURN(const Coded coded, Run(left, out.Room()));
    left = left.subspan(coded.consumed);
    out.Add(coded.produced);
  } while (!out.full() && !eof() && !needs_input());
  if (eof()) {
    unused_.assign(left.begin(), left.end());
    kept_ = KeptInput();
  } else if (is_kept) {
    kept_.Take(compressed.size() - left.size());
  } else {
    kept_.Add(left);
  }
  return out.Take();
} catch (const std::bad_alloc&) {
  state_ = Fail(ENOMEM, "out of memory while decompressing");
  return Failure(state_.error());
}

Status Decompressor::Impl::Finish() {
  XZFS_RETURN_IF_ERROR(state_);
  if (eof()) {
    return {};
  }
  if (!needs_input()) {
    return Fail(EINVAL, "there is output left: call Decompress until needs_input()");
  }
  state_ = decoder_.Finish();
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

Result<Coded> Decompressor::Decompress(std::span<const std::byte> compressed,
                                       std::span<std::byte> out) {
  return impl_->Decompress(compressed, out);
}
Result<Bytes> Decompressor::Decompress(std::span<const std::byte> compressed, size_t most_bytes) {
  return impl_->Decompress(compressed, most_bytes);
}
Status Decompressor::Finish() { return impl_->Finish(); }
bool Decompressor::eof() const { return impl_->eof(); }
bool Decompressor::needs_input() const { return impl_->needs_input(); }
const Bytes& Decompressor::unused_data() const { return impl_->unused_data(); }
std::optional<Check> Decompressor::check() const { return impl_->check(); }

Result<Bytes> Decompress(std::span<const std::byte> compressed, const DecompressOptions& options) {
  XZFS_ASSIGN_OR_RETURN(Decompressor decompressor, Decompressor::Create(options));
  XZFS_ASSIGN_OR_RETURN(Bytes out, decompressor.Decompress(compressed));
  XZFS_RETURN_IF_ERROR(decompressor.Finish());
  if (!decompressor.unused_data().empty()) {
    return Fail(EIO, "other data follows the end of the compressed data (" +
                         std::to_string(decompressor.unused_data().size()) + " bytes)");
  }
  return out;
}

Status DecompressStream(const Source& compressed, const Sink& plain,
                        const DecompressOptions& options) {
  XZFS_ASSIGN_OR_RETURN(Decompressor decompressor, Decompressor::Create(options));
  std::array<std::byte, kStreamBufferBytes> in;
  std::array<std::byte, kStreamBufferBytes> out;
  for (;;) {
    XZFS_ASSIGN_OR_RETURN(const size_t got, compressed(in));
    if (got == 0) {
      return decompressor.Finish();
    }
    std::span<const std::byte> left = std::span(in).first(got);
    do {
      if (decompressor.eof()) {
        return Fail(EIO, "other data follows the end of the compressed data");
      }
      XZFS_ASSIGN_OR_RETURN(const Coded coded, decompressor.Decompress(left, out));
      left = left.subspan(coded.consumed);
      XZFS_RETURN_IF_ERROR(PutAll(plain, std::span(out).first(coded.produced)));
    } while (!left.empty() || (!decompressor.eof() && !decompressor.needs_input()));
  }
}

}  // namespace xzfs
