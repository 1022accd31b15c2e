// File systems that others can change behind this kernel's back.
#pragma once

#include <string_view>

namespace xzfs {

// The name of a file system whose files other machines, or a program behind FUSE, may also have
// open: leases and locks of this kernel don't cover those. `type` is f_type of statfs(2). Empty for
// all others.
std::string_view SharedFilesystem(long type);

}  // namespace xzfs
