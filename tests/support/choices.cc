#include "support/choices.h"

#include <cstring>
#include <random>

namespace xzfs {

std::vector<uint8_t> RandomBytes(uint32_t seed, size_t count) {
  std::mt19937 random(seed);
  std::vector<uint8_t> bytes(count + sizeof(uint32_t));
  for (size_t i = 0; i < count; i += sizeof(uint32_t)) {
    const auto four = static_cast<uint32_t>(random());
    std::memcpy(&bytes[i], &four, sizeof(four));
  }
  bytes.resize(count);
  return bytes;
}

}  // namespace xzfs
