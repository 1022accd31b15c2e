#include "xzfs/input_stream.h"

#include <array>
#include <streambuf>
#include <utility>

#include "lib/stream_buffers.h"

namespace xzfs {

// A window of the file. The get area holds what was read; it ends at the file's offset `end_`.
class InputStream::Buffer : public std::streambuf {
 public:
  explicit Buffer(std::shared_ptr<const RandomAccessFile> file) : file_(std::move(file)) {}

  const std::optional<Error>& error() const { return error_; }

 protected:
  int_type underflow() override {
    if (gptr() != egptr()) {
      return traits_type::to_int_type(*gptr());
    }
    const Result<size_t> got = file_->ReadAt(end_, std::as_writable_bytes(std::span(window_)));
    if (!got) {
      error_ = got.error();
      // The stream turns what its std::streambuf throws into badbit.
      throw std::ios_base::failure(got.error().message);
    }
    end_ += *got;
    setg(window_.data(), window_.data(), window_.data() + *got);
    return *got == 0 ? traits_type::eof() : traits_type::to_int_type(*gptr());
  }

  pos_type seekoff(off_type offset, std::ios_base::seekdir from,
                   std::ios_base::openmode which) override {
    off_type base = 0;
    if (from == std::ios_base::cur) {
      base = static_cast<off_type>(end_) - (egptr() - gptr());
    } else if (from == std::ios_base::end) {
      base = static_cast<off_type>(file_->size());
    }
    return seekpos(base + offset, which);
  }

  pos_type seekpos(pos_type position, std::ios_base::openmode which) override {
    const off_type target = position;
    if ((which & std::ios_base::in) == 0 || target < 0) {
      return pos_type(off_type(-1));
    }
    const off_type begin = static_cast<off_type>(end_) - (egptr() - eback());
    if (target >= begin && target <= static_cast<off_type>(end_)) {
      setg(eback(), eback() + (target - begin), egptr());
    } else {
      end_ = static_cast<uint64_t>(target);
      setg(window_.data(), window_.data(), window_.data());
    }
    return position;
  }

 private:
  const std::shared_ptr<const RandomAccessFile> file_;
  std::array<char, kStreamBufferBytes> window_;
  uint64_t end_ = 0;
  std::optional<Error> error_;
};

InputStream::InputStream(std::shared_ptr<const RandomAccessFile> file)
    : std::istream(nullptr), buffer_(std::make_unique<Buffer>(std::move(file))) {
  rdbuf(buffer_.get());
}

InputStream::InputStream(Reader reader)
    : InputStream(std::make_shared<const Reader>(std::move(reader))) {}

InputStream::~InputStream() = default;

const std::optional<Error>& InputStream::error() const { return buffer_->error(); }

}  // namespace xzfs
