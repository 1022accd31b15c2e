// Bytes as a row of choices: a fuzzer's, or random ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace xzfs {

class Choices {
 public:
  explicit Choices(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  // Whether all bytes were used. From then on every choice is 0.
  bool empty() const { return bytes_.empty(); }

  // A number below `count`, from as few bytes as have so many values. REQUIRES: count > 0.
  uint32_t Below(uint64_t count) {
    uint64_t value = 0;
    for (uint64_t values = 1; values < count; values <<= 8) {
      value = value << 8 | Byte();
    }
    return static_cast<uint32_t>(value % count);
  }

  // True in one of `count` cases, and not when all bytes were used. REQUIRES: count > 1.
  bool OneIn(uint32_t count) { return Below(count) == count - 1; }

 private:
  uint8_t Byte() {
    if (bytes_.empty()) {
      return 0;
    }
    const uint8_t byte = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return byte;
  }

  std::span<const uint8_t> bytes_;
};

// Choices that are random, the same for the same seed.
std::vector<uint8_t> RandomBytes(uint32_t seed, size_t count);

}  // namespace xzfs
