// A compressed file that is named on the command line.
#pragma once

#include <sys/stat.h>

#include <memory>
#include <string>

#include "base/os.h"
#include "xzfs/block_index.h"
#include "xzfs/random_access_file.h"
#include "xzfs/result.h"

namespace xzfs {

// A regular file, open for reading. Thread-safe.
struct Input {
  std::string path;  // as it was named
  Descriptor descriptor;
  struct stat attributes = {};
  std::unique_ptr<RandomAccessFile> stored;
};

// Opens `path`, following symlinks. Errors: EISDIR, EINVAL for what is no regular file, what open
// says.
Result<Input> OpenInput(Os& os, const std::string& path);

// What its first bytes say it is. Errors: EINVAL if they say nothing that we decode.
Result<Format> FormatOf(const Input& input);

// The Blocks of the file. Errors: as FormatOf and BlockIndex::Read, naming the file.
Result<BlockIndex> ReadIndexOf(const Input& input);

}  // namespace xzfs
