// Compressor, Compress and CompressStream of xzfs/compress.h: a StreamEncoder that remembers its
// errors.
#include <array>
#include <cerrno>
#include <new>
#include <utility>

#include "base/try.h"
#include "lib/growing_bytes.h"
#include "lib/stream_buffers.h"
#include "xz/stream_encoder.h"
#include "xzfs/compress.h"

namespace xzfs {

class Compressor::Impl {
 public:
  Status Start(const CompressOptions& options) { return encoder_.Start(options); }
  bool finished() const { return encoder_.ended(); }

  Result<Coded> Compress(std::span<const std::byte> plain, std::span<std::byte> out) {
    if (state_ && is_ending_) {
      return Fail(EINVAL, "the Stream is ended: use a new Compressor for more");
    }
    return Try([&] { return encoder_.Run(plain, out); });
  }

  Result<Coded> Finish(std::span<std::byte> out) {
    if (state_ && encoder_.ended()) {
      return Fail(EINVAL, "the Stream is finished: use a new Compressor for more");
    }
    is_ending_ = true;
    return Try([&] { return encoder_.Finish(out); });
  }

  // All that `code` puts out, until it is done.
  template <class Code, class IsDone>
  Result<Bytes> Collect(const Code& code, const IsDone& is_done) try {
    GrowingBytes out(SIZE_MAX);
    do {
      XZFS_ASSIGN_OR_RETURN(const Coded coded, code(out.Room()));
      out.Add(coded.produced);
    } while (!is_done());
    return out.Take();
  } catch (const std::bad_alloc&) {
    state_ = Fail(ENOMEM, "out of memory while compressing");
    return Failure(state_.error());
  }

 private:
  template <class Step>
  Result<Coded> Try(const Step& step) {
    XZFS_RETURN_IF_ERROR(state_);
    Result<Coded> coded = step();
    if (!coded) {
      state_ = Failure(coded.error());
    }
    return coded;
  }

  StreamEncoder encoder_;
  bool is_ending_ = false;
  Status state_;  // what every further call returns, if it is an error
};

Compressor::Compressor(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Compressor::~Compressor() = default;
Compressor::Compressor(Compressor&& other) noexcept = default;
Compressor& Compressor::operator=(Compressor&& other) noexcept = default;

Result<Compressor> Compressor::Create(const CompressOptions& options) {
  auto impl = std::make_unique<Impl>();
  XZFS_RETURN_IF_ERROR(impl->Start(options));
  return Compressor(std::move(impl));
}

Result<Coded> Compressor::Compress(std::span<const std::byte> plain, std::span<std::byte> out) {
  return impl_->Compress(plain, out);
}

Result<size_t> Compressor::Finish(std::span<std::byte> out) {
  XZFS_ASSIGN_OR_RETURN(const Coded coded, impl_->Finish(out));
  return coded.produced;
}

bool Compressor::finished() const { return impl_->finished(); }

Result<Bytes> Compressor::Compress(std::span<const std::byte> plain) {
  const auto code = [&](std::span<std::byte> room) {
    Result<Coded> coded = impl_->Compress(plain, room);
    plain = plain.subspan(coded ? coded->consumed : 0);
    return coded;
  };
  return impl_->Collect(code, [&] { return plain.empty(); });
}

Result<Bytes> Compressor::Compress(std::string_view plain) { return Compress(BytesOf(plain)); }

Result<Bytes> Compressor::Finish() {
  const auto code = [&](std::span<std::byte> room) { return impl_->Finish(room); };
  return impl_->Collect(code, [&] { return impl_->finished(); });
}

Result<Bytes> Compress(std::span<const std::byte> plain, const CompressOptions& options) {
  XZFS_ASSIGN_OR_RETURN(Compressor compressor, Compressor::Create(options));
  XZFS_ASSIGN_OR_RETURN(Bytes out, compressor.Compress(plain));
  XZFS_ASSIGN_OR_RETURN(const Bytes rest, compressor.Finish());
  out.insert(out.end(), rest.begin(), rest.end());
  return out;
}

Result<Bytes> Compress(std::string_view plain, const CompressOptions& options) {
  return Compress(BytesOf(plain), options);
}

Status CompressStream(const Source& plain, const Sink& compressed, const CompressOptions& options) {
  XZFS_ASSIGN_OR_RETURN(Compressor compressor, Compressor::Create(options));
  std::array<std::byte, kStreamBufferBytes> in;
  std::array<std::byte, kStreamBufferBytes> out;
  for (;;) {
    XZFS_ASSIGN_OR_RETURN(const size_t got, plain(in));
    if (got == 0) {
      break;
    }
    for (std::span<const std::byte> left = std::span(in).first(got); !left.empty();) {
      XZFS_ASSIGN_OR_RETURN(const Coded coded, compressor.Compress(left, out));
      left = left.subspan(coded.consumed);
      XZFS_RETURN_IF_ERROR(PutAll(compressed, std::span(out).first(coded.produced)));
    }
  }
  while (!compressor.finished()) {
    XZFS_ASSIGN_OR_RETURN(const size_t produced, compressor.Finish(out));
    XZFS_RETURN_IF_ERROR(PutAll(compressed, std::span(out).first(produced)));
  }
  return {};
}

}  // namespace xzfs
