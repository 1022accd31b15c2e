// The options of a mount that can change while it runs.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "ctl/shell/json.h"

namespace xzfs {

// Their names and present values, as `xzfs -o` takes them. `settings` is "settings" of the figures
// of the mount. A value that is not there, as in those of an older version, is left out.
std::vector<std::pair<std::string, std::string>> MountSettings(const Json& settings);

}  // namespace xzfs
