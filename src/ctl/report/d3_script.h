// The script that enlarges the treemap of the report.
#pragma once

#include <string_view>

namespace xzfs {

// D3 as Debian's node-d3 has it, embedded by the build; empty if the build didn't find it.
std::string_view D3Script();

}  // namespace xzfs
