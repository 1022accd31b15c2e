// Names in messages.
#pragma once

#include <string>
#include <string_view>

namespace xzfs {

inline std::string Quoted(std::string_view name) { return "'" + std::string(name) + "'"; }

}  // namespace xzfs
