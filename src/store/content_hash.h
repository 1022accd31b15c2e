// A name for the content of a stored file, for file systems whose inode numbers change.
#pragma once

#include <cstdint>

#include "base/os.h"
#include "xzfs/result.h"

namespace xzfs {

// The hash of a stored file that docs/format.md, "The log of an overlay", describes. It depends on
// the sizes of the file's Blocks, which are in its Index. Together with the file's size and mtime
// it names a version. Never 0.
Result<uint64_t> ContentHash(Os& os, int fd);

// The same for the file `name` in `dir`.
Result<uint64_t> ContentHashAt(Os& os, int dir, const std::string& name);

}  // namespace xzfs
