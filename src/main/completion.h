// What a shell offers while a user types a command line of xzfs.
#pragma once

#include <string>
#include <vector>

#include "base/completion.h"

namespace xzfs {

// `words`: those after the program's name, up to the one that is being typed.
Completion CompleteCommandLine(const std::vector<std::string>& words);

}  // namespace xzfs
