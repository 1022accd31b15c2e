// Small files under `.xzfs/`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/os.h"
#include "xzfs/result.h"

namespace xzfs {

// The bytes of the file `name`, up to 64 MiB: more is no file of ours. `path`: for messages.
Result<std::string> ReadRecordFile(Os& os, int folder, const std::string& name,
                                   const std::string& path);
// Writes records to the open file `fd`, which is one of ours.
Status WriteRecord(Os& os, int fd, std::string_view bytes, uint64_t offset);

}  // namespace xzfs
