// What a stored file holds, where its inode number doesn't say.
#pragma once

#include <cstdint>

#include "base/os.h"
#include "xzfs/result.h"

namespace xzfs {

// The CRC64 of a stored file's last 64 KiB, which hold its Index (or the end of it) and its Stream
// Footer: the sizes of all its Blocks. With the file's size and mtime it names a version on file
// systems where inode numbers change from one mount to the next. Never 0.
Result<uint64_t> ContentHash(Os& os, int fd);

// Of `name` in `dir`.
Result<uint64_t> ContentHashAt(Os& os, int dir, const std::string& name);

}  // namespace xzfs
