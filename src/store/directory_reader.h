// The entries of one directory of the source.
#pragma once

#include <dirent.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/os.h"
#include "xzfs/result.h"

namespace xzfs {

// A line of the source's directory.
struct RawLine {
  std::string name;
  uint64_t next_offset = 0;
  uint64_t inode = 0;
  uint8_t type = DT_UNKNOWN;
};

// Some lines of the directory that is open as `dir`, from `offset` on (0 is the start, else a
// line's next_offset), as many as fit into `buffer`; none at the end. Moves the descriptor's
// position.
Result<std::vector<RawLine>> ReadLines(Os& os, int dir, uint64_t offset,
                                       std::span<std::byte> buffer);

// All names in it but "." and "..". For folders that are known to be small, or one at a time.
Result<std::vector<RawLine>> ReadAllLines(Os& os, int dir);

// Opens the directory `path` ("a/b", "" for the source itself) below `source`, one component after
// the other, following no symlink.
Result<Descriptor> OpenDirectoryAt(Os& os, int source, const std::string& path);

// "a/b" + "c" -> "a/b/c"; "" + "c" -> "c". And back.
std::string JoinPath(const std::string& dir, const std::string& name);
std::pair<std::string, std::string> SplitPath(const std::string& path);

}  // namespace xzfs
