// HTML and SVG, written by hand.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace xzfs {

// `text` as content or as an attribute's value. It may be any bytes: a file's name. What is not
// UTF-8, and control characters, which HTML can't hold, are shown as \xNN.
std::string EscapeHtml(std::string_view text);

// At most `most` characters of UTF-8, the last of them "…" if some were left out. Not escaped.
std::string Shortened(std::string_view text, size_t most);

// "1 file", "2 files".
std::string Counted(uint64_t count, std::string_view one, std::string_view many);

// Three decimals at most, with a point whatever the locale says.
std::string Decimal(double value);

}  // namespace xzfs
