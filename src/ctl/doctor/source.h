// How a source is: the directory of stored files.
#pragma once

#include <string>

#include "base/os.h"
#include "ctl/doctor/finding.h"

namespace xzfs {

// What to look at.
enum class SourceDepth {
  kTop,       // the directory itself
  kAllFiles,  // and everything below it
};

// Looks at the file system, at what dead mounts have left, and at files that are slow to read or
// damaged. Decodes nothing and changes nothing. Blocks.
Findings LookAtSource(Os& os, const std::string& path, SourceDepth depth);

}  // namespace xzfs
