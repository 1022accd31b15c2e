// Small files under `.xzfs/`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/os.h"
#include "xzfs/result.h"

namespace xzfs {

// Reads the file `name`. A file of more than 64 MiB is not ours, and an error. `path`: for
// messages.
Result<std::string> ReadRecordFile(Os& os, int folder, const std::string& name,
                                   const std::string& path);
// Writes records to the open file `fd`.
Status WriteRecord(Os& os, int fd, std::string_view bytes, uint64_t offset);

}  // namespace xzfs
