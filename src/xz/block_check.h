// The Check of a Block, computed while it is decoded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "xzfs/check.h"

namespace xzfs {

// The Check of the bytes that were added. Its state is its value, so it can go on from a number.
// Not thread-safe.
class BlockCheck {
 public:
  // Whether this class computes it.
  static bool Has(Check check) { return check == Check::kCrc32 || check == Check::kCrc64; }

  // REQUIRES: Has(check).
  explicit BlockCheck(Check check) : check_(check) {}

  void Add(std::span<const std::byte> bytes);
  uint64_t value() const { return value_; }
  void set_value(uint64_t value) { value_ = value; }
  // How many bytes it has in the file.
  size_t stored_bytes() const { return check_ == Check::kCrc32 ? 4 : 8; }
  // Whether the bytes in the file say the same.
  bool Matches(const uint8_t* stored) const;

 private:
  Check check_;
  uint64_t value_ = 0;
};

}  // namespace xzfs
