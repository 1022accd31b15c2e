// Options from the environment.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "ctl/shell/arguments.h"
#include "xzfs/result.h"

namespace xzfs {

// The options of `text` that `arguments` knows; those of other commands (`elsewhere`) are
// left out, as the same text serves all commands. A value is joined to its option ("--check=crc32",
// "-T2") or the next word. Errors: EINVAL for what no command knows, naming `variable`.
Result<std::vector<std::string>> OptionsFrom(
    std::string_view variable, std::string_view text, const Arguments& arguments,
    const std::function<Arguments::Kind(const std::string&)>& elsewhere);

}  // namespace xzfs
