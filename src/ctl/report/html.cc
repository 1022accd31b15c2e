#include "ctl/report/html.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

namespace xzfs {
namespace {

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// The bytes of the character that `text` begins with; 0 if they are none that HTML may hold.
size_t CharacterLength(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) {
    return first >= 0x20 && first != 0x7F ? 1 : 0;
  }
  const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < length ||
      !std::all_of(text.begin() + 1, text.begin() + static_cast<std::ptrdiff_t>(length),
                   IsContinuation)) {
    return 0;
  }
  const auto second = static_cast<unsigned char>(text[1]);
  const bool is_overlong = (first == 0xE0 && second < 0xA0) || (first == 0xF0 && second < 0x90);
  const bool is_no_character = (first == 0xED && second > 0x9F) || (first == 0xF4 && second > 0x8F);
  const bool is_control = first == 0xC2 && second < 0xA0;
  // Overrides of the writing direction could make a name look like another.
  const bool turns =
      first == 0xE2 && ((second == 0x80 && static_cast<unsigned char>(text[2]) >= 0xAA &&
                         static_cast<unsigned char>(text[2]) <= 0xAE) ||
                        (second == 0x81 && static_cast<unsigned char>(text[2]) >= 0xA6 &&
                         static_cast<unsigned char>(text[2]) <= 0xA9));
  return is_overlong || is_no_character || is_control || turns ? 0 : length;
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
          std::array<char, 5> hex = {};
          std::snprintf(hex.data(), hex.size(), "\\x%02x", static_cast<unsigned char>(text[0]));
          out += hex.data();
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

std::string Decimal(double value) {
  std::array<char, 32> text = {};
  const double rounded = std::round(value * 1000) / 1000;
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), rounded);
  return error == std::errc() ? std::string(text.data(), end) : "0";
}

}  // namespace xzfs
