// All decoders of one Block or member end in RunCoder. It feeds lzma_code from a CompressedInput,
// until the output is full, the coder says that the data has ended, or an error comes.
// LZMA_BUF_ERROR means here that the input has ended, since there is always room for output.
//
// CompressedInput is a window on a range of the file. Its buffer is allocated when it is first
// needed, and freed by Seek: so a decoder that only waits need not keep it. It is refilled when it
// holds less than was asked for.
//
// FailLzma makes an errno and a reason of liblzma's error. Options that this liblzma lacks get a
// kind of their own (kUnsupported), as the file is not at fault.
#include "xz/lzma_util.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstring>

#include "base/try.h"
#include "xz/block_decoder.h"

namespace xzfs {

namespace {

// xyyyzzzs: major, minor, revision, stability (2 is stable).
constexpr uint32_t kOldestVersion = 50040012;

int ErrnoOf(lzma_ret ret) {
  switch (ret) {
    case LZMA_MEM_ERROR:
      return ENOMEM;
    case LZMA_MEMLIMIT_ERROR:
      return EFBIG;
    default:
      return EIO;
  }
}

// Follows the name of what the call worked on.
const char* Reason(lzma_ret ret) {
  switch (ret) {
    case LZMA_MEM_ERROR:
      return ": out of memory";
    case LZMA_MEMLIMIT_ERROR:
      return " needs more memory than the limit allows";
    case LZMA_FORMAT_ERROR:
      return " does not have its magic bytes";
    case LZMA_OPTIONS_ERROR:
      return " uses options that this liblzma does not have; a newer liblzma may read it";
    case LZMA_DATA_ERROR:
      return " is damaged";
    case LZMA_BUF_ERROR:
      return " ends early";
    default:
      return ": liblzma refused the call";
  }
}

std::string VersionText(uint32_t version) {
  return std::to_string(version / 10000000) + "." + std::to_string(version / 10000 % 1000) + "." +
         std::to_string(version / 10 % 1000);
}

}  // namespace

Failure<> FailLzma(lzma_ret ret, const std::string& what) {
  auto error = Fail(ErrnoOf(ret), what + Reason(ret));
  if (ret == LZMA_OPTIONS_ERROR) {
    error.error().kind = ErrorKind::kUnsupported;
  }
  return error;
}

Failure<> FailMemoryLimit(uint64_t needed_bytes, uint64_t limit_bytes) {
  return Fail(EFBIG, "decoding needs " + std::to_string(needed_bytes) +
                         " bytes of memory, the limit is " + std::to_string(limit_bytes) +
                         "; raise the memory limit to read it");
}

Status CheckLiblzmaVersion(uint32_t version) {
  // The releases that carried a backdoor, whatever their stability digit.
  if (version / 10 == 5006000 || version / 10 == 5006001) {
    return Fail(ENOTSUP, "liblzma " + VersionText(version) +
                             " is one of the two releases with a backdoor: install liblzma5 5.4.x "
                             "or at least 5.6.2 at once");
  }
  if (version < kOldestVersion) {
    return Fail(ENOTSUP, "liblzma " + VersionText(version) + " is too old: install liblzma5 " +
                             VersionText(kOldestVersion) + " or newer");
  }
  return {};
}

std::string LiblzmaVersion() { return lzma_version_string(); }

Status RequireLiblzma() { return CheckLiblzmaVersion(lzma_version_number()); }

std::string CheckName(Check check) {
  switch (check) {
    case Check::kNone:
      return "None";
    case Check::kCrc32:
      return "CRC32";
    case Check::kCrc64:
      return "CRC64";
    case Check::kSha256:
      return "SHA-256";
  }
  return "Unknown-" + std::to_string(static_cast<unsigned>(check));
}

bool IsCheckSupported(Check check) {
  return lzma_check_is_supported(static_cast<lzma_check>(check)) != 0;
}

CompressedInput::CompressedInput(uint64_t offset, uint64_t size)
    : next_read_(offset),
      end_(offset + size),
      capacity_(static_cast<size_t>(std::min<uint64_t>(size, kDecoderInputBytes))) {}

void CompressedInput::Seek(uint64_t position) {
  next_read_ = position;
  begin_ = 0;
  buffered_ = 0;
  data_.reset();
}

Status CompressedInput::Fill(const RandomAccessFile& file, size_t count) {
  assert(count <= capacity_);
  if (buffered_ >= count || next_read_ == end_) {
    return {};
  }
  if (data_ == nullptr) {
    data_ = std::make_unique_for_overwrite<uint8_t[]>(capacity_ + kInputSlack);
    std::memset(data_.get() + capacity_, 0, kInputSlack);
  }
  std::memmove(data_.get(), data_.get() + begin_, buffered_);
  begin_ = 0;
  const size_t want =
      static_cast<size_t>(std::min<uint64_t>(capacity_ - buffered_, end_ - next_read_));
  XZFS_RETURN_IF_ERROR(ReadFully(file, next_read_,
                                 std::as_writable_bytes(std::span(data_.get() + buffered_, want))));
  next_read_ += want;
  buffered_ += want;
  return {};
}

void CompressedInput::Consume(size_t count) {
  assert(count <= buffered_);
  begin_ += count;
  buffered_ -= count;
}

Result<StepDecoder::Progress> RunCoder(lzma_stream* stream, CompressedInput* input,
                                       const RandomAccessFile& file, std::span<std::byte> out) {
  // Some coders of liblzma do nothing without room for output. So they get some to run to the end,
  // and a byte that appears there is one too many.
  std::array<std::byte, 1> surplus;
  const bool to_the_end = out.empty();
  const std::span<std::byte> room = to_the_end ? std::span<std::byte>(surplus) : out;
  stream->next_out = reinterpret_cast<uint8_t*>(room.data());
  stream->avail_out = room.size();
  while (true) {
    XZFS_RETURN_IF_ERROR(input->Fill(file, std::min<size_t>(1, input->capacity())));
    const std::span<uint8_t> in = input->buffer();
    stream->next_in = in.data();
    stream->avail_in = in.size();
    const lzma_ret ret = lzma_code(stream, LZMA_RUN);
    input->Consume(in.size() - stream->avail_in);
    const size_t produced = room.size() - stream->avail_out;
    if (to_the_end && produced > 0) {
      return Fail(EIO, "the compressed data gives more bytes than its recorded size");
    }
    if (ret == LZMA_STREAM_END) {
      return StepDecoder::Progress{produced, true};
    }
    if (ret == LZMA_BUF_ERROR) {
      return Fail(EIO, "the compressed data ends early");
    }
    if (ret != LZMA_OK) {
      return FailLzma(ret, "the compressed data");
    }
    if (stream->avail_out == 0) {
      return StepDecoder::Progress{produced, false};
    }
  }
}

uint32_t LoadLe32(const uint8_t* bytes) {
  return uint32_t{bytes[0]} | uint32_t{bytes[1]} << 8 | uint32_t{bytes[2]} << 16 |
         uint32_t{bytes[3]} << 24;
}

uint64_t LoadLe64(const uint8_t* bytes) {
  return LoadLe32(bytes) | uint64_t{LoadLe32(bytes + 4)} << 32;
}

void StoreLe32(uint8_t* bytes, uint32_t value) {
  for (int i = 0; i < 4; ++i) {
    bytes[i] = static_cast<uint8_t>(value >> (8 * i));
  }
}

}  // namespace xzfs
