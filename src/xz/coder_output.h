// Where a coder puts bytes of which nobody knows how many come.
#pragma once

#include <lzma.h>

#include <algorithm>
#include <cstddef>
#include <utility>

#include "xzfs/bytes.h"

namespace xzfs {

// Collects a coder's output, up to a limit. Not thread-safe.
class CoderOutput {
 public:
  explicit CoderOutput(size_t most_bytes) : most_bytes_(most_bytes) {}

  bool full() const { return used_ == most_bytes_; }

  // One call of lzma_code with room for output: all that is left of the buffer, or, if there is
  // nothing left, half as much again. REQUIRES: !full(). Throws std::bad_alloc.
  lzma_ret Run(lzma_stream* stream, lzma_action action) {
    if (used_ == bytes_.size()) {
      bytes_.resize(std::min(most_bytes_, std::max(kLeastBytes, used_ + used_ / 2)));
    }
    stream->next_out = reinterpret_cast<uint8_t*>(bytes_.data()) + used_;
    stream->avail_out = bytes_.size() - used_;
    const lzma_ret ret = lzma_code(stream, action);
    used_ = bytes_.size() - stream->avail_out;
    return ret;
  }

  Bytes Take() {
    bytes_.resize(used_);
    return std::move(bytes_);
  }

 private:
  // What most calls don't exceed: the output for one call's input.
  static constexpr size_t kLeastBytes = size_t{32} << 10;

  const size_t most_bytes_;
  size_t used_ = 0;
  Bytes bytes_;
};

}  // namespace xzfs
