// File systems that others can change behind this kernel's back.
#pragma once

#include <string_view>

namespace xzfs {

// What a file system is called of which other machines, or a program behind FUSE, may have the
// files open, too: leases and locks of this kernel say nothing about those. `type` is f_type of
// statfs(2). Empty for all others.
std::string_view SharedFilesystem(long type);

}  // namespace xzfs
