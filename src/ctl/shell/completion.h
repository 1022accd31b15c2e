// What a shell offers while a user types a command line of xzfsctl.
#pragma once

#include <string>
#include <vector>

#include "base/completion.h"

namespace xzfs {

// `words`: those after the program's name, up to the one that is being typed. For the settings of a
// mount it asks that mount, but not for long. REQUIRES: no other thread runs.
Completion CompleteWords(const std::vector<std::string>& words);

}  // namespace xzfs
