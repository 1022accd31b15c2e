// Byte strings, and texts as byte strings.
#pragma once

#if __cplusplus < 202002L
#error "xzfs needs C++20: compile with -std=c++20 or later"
#endif

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

namespace xzfs {

// Bytes that the caller owns.
using Bytes = std::vector<std::byte>;

// The bytes of a text. They stay the text's.
inline std::span<const std::byte> BytesOf(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// The same the other way: a view of bytes that stay where they are.
inline std::string_view TextOf(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace xzfs
