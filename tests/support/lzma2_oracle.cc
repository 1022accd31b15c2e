#include "support/lzma2_oracle.h"

#include <algorithm>
#include <array>
#include <stdexcept>

namespace xzfs {

Lzma2Oracle::Answer Lzma2Oracle::Decode(std::span<const uint8_t> data, uint32_t dictionary_bytes,
                                        size_t most_plain) {
  lzma_options_lzma options = {};
  options.dict_size = dictionary_bytes;
  const std::array<lzma_filter, 2> filters = {
      {{LZMA_FILTER_LZMA2, &options}, {LZMA_VLI_UNKNOWN, nullptr}}};
  if (lzma_raw_decoder(&stream_, filters.data()) != LZMA_OK) {
    throw std::runtime_error("liblzma can't begin to decode LZMA2");
  }
  stream_.next_in = data.data();
  stream_.avail_in = data.size();
  Answer answer;
  std::array<uint8_t, 65536> piece;
  lzma_ret ret = LZMA_OK;
  while (ret == LZMA_OK) {
    // With no room left it may still come to the end marker.
    const size_t room = std::min(piece.size(), most_plain - answer.plain.size());
    stream_.next_out = piece.data();
    stream_.avail_out = room;
    ret = lzma_code(&stream_, LZMA_FINISH);
    answer.plain.insert(answer.plain.end(), piece.data(), piece.data() + room - stream_.avail_out);
  }
  answer.is_valid = ret == LZMA_STREAM_END;
  answer.used = data.size() - stream_.avail_in;
  return answer;
}

}  // namespace xzfs
