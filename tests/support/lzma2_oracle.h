// What liblzma makes of LZMA2 data.
#pragma once

#include <lzma.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace xzfs {

// Not thread-safe. Keeps its memory for the next data.
class Lzma2Oracle {
 public:
  struct Answer {
    bool is_valid = false;       // it came to the end marker
    size_t used = 0;             // bytes of the data, if it's valid
    std::vector<uint8_t> plain;  // before the damage, if it isn't
  };

  Lzma2Oracle() = default;
  ~Lzma2Oracle() { lzma_end(&stream_); }
  Lzma2Oracle(const Lzma2Oracle&) = delete;
  Lzma2Oracle& operator=(const Lzma2Oracle&) = delete;

  // Data that gives more than `most_plain` bytes is not valid. Throws std::runtime_error if liblzma
  // can't begin.
  Answer Decode(std::span<const uint8_t> data, uint32_t dictionary_bytes, size_t most_plain);

 private:
  lzma_stream stream_ = LZMA_STREAM_INIT;
};

}  // namespace xzfs
