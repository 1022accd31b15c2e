#include "xz/stream_builder.h"

#include <lzma.h>

#include <cassert>
#include <cerrno>
#include <new>

#include "base/fail.h"
#include "xz/lzma_util.h"

namespace xzfs {

namespace {

lzma_stream_flags Flags(Check check) {
  lzma_stream_flags flags{};
  flags.version = 0;
  flags.check = static_cast<lzma_check>(check);
  return flags;
}

uint8_t* Data(std::vector<std::byte>& bytes) { return reinterpret_cast<uint8_t*>(bytes.data()); }

}  // namespace

void StreamBuilder::IndexDeleter::operator()(lzma_index_s* index) const {
  lzma_index_end(index, nullptr);
}

StreamBuilder::StreamBuilder(Check check) : check_(check), index_(lzma_index_init(nullptr)) {
  assert(static_cast<uint8_t>(check) <= kLargestCheckId);
  if (index_ == nullptr) {
    throw std::bad_alloc();
  }
}

std::vector<std::byte> StreamBuilder::Header() const {
  std::vector<std::byte> header(LZMA_STREAM_HEADER_SIZE);
  const lzma_stream_flags flags = Flags(check_);
  [[maybe_unused]] const lzma_ret ret = lzma_stream_header_encode(&flags, Data(header));
  assert(ret == LZMA_OK);
  return header;
}

Status StreamBuilder::Add(uint64_t unpadded_size, uint64_t plain_size) {
  switch (const lzma_ret ret =
              lzma_index_append(index_.get(), nullptr, unpadded_size, plain_size)) {
    case LZMA_OK:
      return {};
    case LZMA_PROG_ERROR:
      return Fail(EINVAL, "no Block has a size of " + std::to_string(unpadded_size) +
                              " bytes for " + std::to_string(plain_size) + " plain ones");
    case LZMA_DATA_ERROR:
      return Fail(EFBIG, "one Stream can't hold more Blocks; compress with larger Blocks");
    default:
      return FailLzma(ret, "the Index");
  }
}

uint64_t StreamBuilder::position() const {
  return LZMA_STREAM_HEADER_SIZE + lzma_index_total_size(index_.get());
}

uint64_t StreamBuilder::plain_size() const { return lzma_index_uncompressed_size(index_.get()); }

Result<std::vector<std::byte>> StreamBuilder::Finish() const try {
  const lzma_vli index_size = lzma_index_size(index_.get());
  std::vector<std::byte> end(index_size + LZMA_STREAM_HEADER_SIZE);
  size_t used = 0;
  lzma_ret ret = lzma_index_buffer_encode(index_.get(), Data(end), &used, index_size);
  if (ret != LZMA_OK) {
    return FailLzma(ret, "the Index");
  }
  lzma_stream_flags flags = Flags(check_);
  flags.backward_size = index_size;
  ret = lzma_stream_footer_encode(&flags, Data(end) + index_size);
  if (ret != LZMA_OK) {
    return FailLzma(ret, "the Stream Footer");
  }
  return end;
} catch (const std::bad_alloc&) {
  return Fail(ENOMEM, "out of memory while writing the Index");
}

uint64_t Crc64(std::span<const std::byte> bytes, uint64_t crc) {
  return lzma_crc64(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), crc);
}

}  // namespace xzfs
