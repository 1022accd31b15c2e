// A name for the content of a stored file, for file systems whose inode numbers change.
#pragma once

#include <cstdint>

#include "base/os.h"
#include "xzfs/result.h"

namespace xzfs {

// The CRC64 of a stored file's last 64 KiB. They hold its Stream Footer and its Index, or the end
// of it, and so the sizes of its Blocks. Together with the file's size and mtime it names a version
// where inode numbers change from one mount to the next. Never 0.
Result<uint64_t> ContentHash(Os& os, int fd);

// The same for the file `name` in `dir`.
Result<uint64_t> ContentHashAt(Os& os, int dir, const std::string& name);

}  // namespace xzfs
