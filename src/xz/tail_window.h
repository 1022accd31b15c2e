// Reads a file from its end towards its start, one window at a time.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <span>
#include <vector>

#include "base/try.h"
#include "xzfs/random_access_file.h"
#include "xzfs/result.h"

namespace xzfs {

// Compressed formats are read from the back: the trailer, the index, then what lies before. This
// holds one window of the file. The first one is large enough for the Index of an ordinary file,
// too: an Index takes 6 to 8 bytes a Block, so 1/1024 of the file is enough for Blocks of 8 KiB and
// more. Later windows start small, which suits a file of few large Streams. They double while
// reading goes on at or closely before the window, which suits a file of very many small Streams.
// Not thread-safe.
class TailWindow {
 public:
  static constexpr uint64_t kSmallest = uint64_t{4} << 10;
  static constexpr uint64_t kLargest = uint64_t{256} << 10;

  // `largest_bytes` bounds the window; it is raised to kSmallest.
  TailWindow(const RandomAccessFile& file, uint64_t largest_bytes)
      : file_(file), largest_(std::clamp(largest_bytes, kSmallest, kLargest)), start_(file.size()) {
    next_size_ = std::clamp(file.size() / 1024, kSmallest, largest_);
  }

  // The bytes in the window that lie before `end`; at least `count` of them. REQUIRES: count <= end
  // <= file.size(), count <= kSmallest. The span is valid until the next call.
  Result<std::span<const uint8_t>> Before(uint64_t end, uint64_t count) {
    assert(count <= end && end <= file_.size() && count <= kSmallest);
    if (end < start_ + count || end > start_ + bytes_.size()) {
      XZFS_RETURN_IF_ERROR(Load(end));
    }
    return std::span<const uint8_t>(bytes_).first(static_cast<size_t>(end - start_));
  }

  // Exactly the bytes [offset, offset + count). As Before().
  Result<std::span<const uint8_t>> At(uint64_t offset, uint64_t count) {
    XZFS_ASSIGN_OR_RETURN(const std::span<const uint8_t> held, Before(offset + count, count));
    return held.last(static_cast<size_t>(count));
  }

  // Offset of the first byte that is held.
  uint64_t start() const { return start_; }
  // What is held of [offset, end), which begins at start() or later.
  std::span<const uint8_t> Held(uint64_t offset, uint64_t end) const {
    assert(start_ <= offset && offset <= end && end <= start_ + bytes_.size());
    return std::span<const uint8_t>(bytes_).subspan(static_cast<size_t>(offset - start_),
                                                    static_cast<size_t>(end - offset));
  }
  uint64_t memory_bytes() const { return bytes_.capacity(); }

 private:
  Status Load(uint64_t end) {
    if (!bytes_.empty()) {
      const bool near = end + next_size_ >= start_ && end <= start_ + bytes_.size();
      next_size_ = near ? std::min(next_size_ * 2, largest_) : kSmallest;
    }
    const uint64_t size = std::min(next_size_, end);
    bytes_.resize(static_cast<size_t>(size));
    start_ = end - size;
    return ReadFully(file_, start_, std::as_writable_bytes(std::span(bytes_)));
  }

  const RandomAccessFile& file_;
  const uint64_t largest_;
  uint64_t next_size_ = 0;
  uint64_t start_;
  std::vector<uint8_t> bytes_;
};

}  // namespace xzfs
