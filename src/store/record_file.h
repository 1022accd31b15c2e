// Small files under `.xzfs/` as a whole.
#pragma once

#include <string>

#include "base/os.h"
#include "xzfs/result.h"

namespace xzfs {

// The bytes of the file `name`, up to 64 MiB: more is no file of ours. `path`: for messages.
Result<std::string> ReadRecordFile(Os& os, int folder, const std::string& name,
                                   const std::string& path);

}  // namespace xzfs
