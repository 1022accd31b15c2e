// xzfsctl from its command line to its exit code.
#pragma once

#include <string>
#include <vector>

namespace xzfs {

// Runs `xzfsctl ARGUMENTS...`; the program's name is not among them. Returns the exit code.
int RunCtl(const std::vector<std::string>& arguments);

}  // namespace xzfs
