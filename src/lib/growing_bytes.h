// Where a coder puts its output when the size is not known before.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>

#include "xzfs/byte_string.h"

namespace xzfs {

// A byte string that grows up to a limit. Not thread-safe.
class GrowingBytes {
 public:
  explicit GrowingBytes(size_t most_bytes) : most_bytes_(most_bytes) {}

  bool full() const { return used_ == most_bytes_; }
  // What can be filled next: all that is left of the buffer. If nothing is left, the buffer grows
  // by half. Empty only if it is full. Throws std::bad_alloc.
  std::span<std::byte> Room() {
    if (used_ == bytes_.size()) {
      bytes_.resize(std::min(most_bytes_, std::max(kLeastBytes, used_ + used_ / 2)));
    }
    return std::span(bytes_).subspan(used_);
  }
  // Says that `count` bytes of Room() were filled.
  void Add(size_t count) { used_ += count; }

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
