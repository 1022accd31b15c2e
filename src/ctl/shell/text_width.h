// How much room text takes on a terminal.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace xzfs {

// Whether the terminal shows UTF-8, as the locale's codeset says. REQUIRES: setlocale was called.
bool ShowsUtf8();

// The columns that `text` takes, which has no control characters. Where it isn't sure, it is too
// many rather than too few.
size_t ColumnsOf(std::string_view text);

// The beginning of `text`, as much as `columns` have room for.
std::string CutAtEnd(std::string_view text, size_t columns);

// The end of `text`, after "...", if the whole takes more than `columns`. REQUIRES: at least 4.
std::string CutAtFront(std::string_view text, size_t columns);

}  // namespace xzfs
