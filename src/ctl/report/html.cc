#include "ctl/report/html.h"

#include <fmt/core.h>
#include <utf8.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>

namespace xzfs {
namespace {

// How many bytes the first character of `text` has; 0 if it is none that HTML may hold.
size_t CharacterLength(std::string_view text) {
  constexpr size_t kMostBytes = 4;
  const std::string_view head = text.substr(0, kMostBytes);
  if (utf8::find_invalid(head.begin(), head.end()) == head.begin()) {
    return 0;
  }
  const char* end = head.data();
  const uint32_t character = utf8::unchecked::next(end);
  const bool is_control = character < 0x20 || (character >= 0x7F && character < 0xA0);
  // Marks and overrides of the writing direction could make a name look like another.
  const bool turns = (character >= 0x202A && character <= 0x202E) ||
                     (character >= 0x2066 && character <= 0x2069) || character == 0x200E ||
                     character == 0x200F || character == 0x61C;
  return is_control || turns ? 0 : static_cast<size_t>(end - head.data());
}

}  // namespace

std::string EscapeHtml(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t length = CharacterLength(text);
    switch (text[0]) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        if (length == 0) {
          out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[0]));
        } else {
          out += text.substr(0, length);
        }
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return out;
}

std::string Shortened(std::string_view text, size_t most) {
  size_t end = 0;
  size_t before_last = 0;
  for (size_t characters = 0; end < text.size(); ++characters) {
    if (characters == most) {
      return std::string(text.substr(0, before_last)) + (most == 0 ? "" : "…");
    }
    before_last = end;
    end += std::max<size_t>(CharacterLength(text.substr(end)), 1);
  }
  return std::string(text);
}

std::string Counted(uint64_t count, std::string_view one, std::string_view many) {
  return std::to_string(count) + " " + std::string(count == 1 ? one : many);
}

std::string Decimal(double value) {
  std::array<char, 32> text = {};
  const double rounded = std::round(value * 1000) / 1000;
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), rounded);
  return error == std::errc() ? std::string(text.data(), end) : "0";
}

}  // namespace xzfs
