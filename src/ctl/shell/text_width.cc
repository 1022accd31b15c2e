#include "ctl/shell/text_width.h"

#include <langinfo.h>
#include <utf8.h>
#include <wchar.h>

#include <cassert>
#include <cstdint>
#include <vector>

namespace xzfs {
namespace {

// One character of a text.
struct Sign {
  size_t begin = 0;  // in bytes
  size_t columns = 0;
};

// A character that the C library doesn't know counts as one of the widest.
size_t ColumnsOfSign(uint32_t sign, bool shows_utf8) {
  constexpr size_t kWidest = 2;
  const int known = shows_utf8 ? wcwidth(static_cast<wchar_t>(sign)) : -1;
  if (sign < 0x80) {
    return 1;
  }
  return known < 0 ? kWidest : static_cast<size_t>(known);
}

std::vector<Sign> SignsOf(std::string_view text) {
  std::vector<Sign> signs;
  if (!utf8::is_valid(text.begin(), text.end())) {
    for (size_t i = 0; i < text.size(); ++i) {  // a terminal shows at most one sign for a byte
      signs.push_back({i, 1});
    }
    return signs;
  }
  const bool shows_utf8 = ShowsUtf8();
  for (auto at = text.begin(); at != text.end();) {
    const auto begin = static_cast<size_t>(at - text.begin());
    signs.push_back({begin, ColumnsOfSign(utf8::unchecked::next(at), shows_utf8)});
  }
  return signs;
}

}  // namespace

bool ShowsUtf8() { return std::string_view(nl_langinfo(CODESET)) == "UTF-8"; }

size_t ColumnsOf(std::string_view text) {
  size_t columns = 0;
  for (const Sign& sign : SignsOf(text)) {
    columns += sign.columns;
  }
  return columns;
}

std::string CutAtEnd(std::string_view text, size_t columns) {
  size_t left = columns;
  for (const Sign& sign : SignsOf(text)) {
    if (sign.columns > left) {
      return std::string(text.substr(0, sign.begin));
    }
    left -= sign.columns;
  }
  return std::string(text);
}

std::string CutAtFront(std::string_view text, size_t columns) {
  constexpr std::string_view kDots = "...";
  assert(columns > kDots.size());
  if (ColumnsOf(text) <= columns) {
    return std::string(text);
  }
  const std::vector<Sign> signs = SignsOf(text);
  size_t left = columns - kDots.size();
  size_t from = text.size();
  for (auto sign = signs.rbegin(); sign != signs.rend() && sign->columns <= left; ++sign) {
    left -= sign->columns;
    from = sign->begin;
  }
  return std::string(kDots) + std::string(text.substr(from));
}

}  // namespace xzfs
