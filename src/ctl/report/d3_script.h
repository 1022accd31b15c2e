// What enlarges the treemap of the report.
#pragma once

#include <string_view>

namespace xzfs {

// D3, as Debian's node-d3 has it, embedded when this was built; empty if it wasn't there.
std::string_view D3Script();

}  // namespace xzfs
