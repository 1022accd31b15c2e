#include "xzfs/output_stream.h"

#include <array>
#include <streambuf>
#include <utility>

#include "lib/stream_buffers.h"

namespace xzfs {

// The put area holds what the Writer hasn't got yet.
class OutputStream::Buffer : public std::streambuf {
 public:
  explicit Buffer(Writer writer) : writer_(std::move(writer)) {
    setp(window_.data(), window_.data() + window_.size());
  }

  const std::optional<Error>& error() const { return error_; }

  Status Close() {
    Keep(Flush());
    Status closed = writer_.Close();
    Keep(closed);
    return closed;
  }

 protected:
  int_type overflow(int_type character) override {
    if (!Keep(Flush())) {
      return traits_type::eof();
    }
    if (!traits_type::eq_int_type(character, traits_type::eof())) {
      *pptr() = traits_type::to_char_type(character);
      pbump(1);
    }
    return traits_type::not_eof(character);
  }

  // It ends no Block, and only Close completes a file.
  int sync() override { return Keep(Flush()) ? 0 : -1; }

 private:
  Status Flush() {
    const std::string_view text(pbase(), static_cast<size_t>(pptr() - pbase()));
    setp(window_.data(), window_.data() + window_.size());
    return writer_.Write(text);
  }

  // Returns whether there is no error. Remembers the first one.
  bool Keep(const Status& status) {
    if (!status && !error_) {
      error_ = status.error();
    }
    return status.has_value();
  }

  Writer writer_;
  std::array<char, kStreamBufferBytes> window_;
  std::optional<Error> error_;
};

OutputStream::OutputStream(Writer writer)
    : std::ostream(nullptr), buffer_(std::make_unique<Buffer>(std::move(writer))) {
  rdbuf(buffer_.get());
}

OutputStream::~OutputStream() = default;

Status OutputStream::Close() {
  Status closed = buffer_->Close();
  if (!closed) {
    setstate(std::ios_base::badbit);
  }
  return closed;
}

const std::optional<Error>& OutputStream::error() const { return buffer_->error(); }

}  // namespace xzfs
