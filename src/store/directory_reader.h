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

// One entry, as the source's directory has it.
struct RawLine {
  std::string name;
  uint64_t next_offset = 0;
  uint64_t inode = 0;
  uint8_t type = DT_UNKNOWN;
};

// Reads lines of the directory that is open as `dir`, as many as fit into `buffer`; none at its
// end. `offset`: where to begin: 0, or a line's next_offset. Moves the descriptor's position.
Result<std::vector<RawLine>> ReadLines(Os& os, int dir, uint64_t offset,
                                       std::span<std::byte> buffer);

// Reads all lines except "." and "..". For folders that are known to be small, or for one directory
// at a time.
Result<std::vector<RawLine>> ReadAllLines(Os& os, int dir);

// Opens the directory `path` ("a/b", "" for the source itself) below `source`, one component after
// the other. Follows no symlink.
Result<Descriptor> OpenDirectoryAt(Os& os, int source, const std::string& path);

// "a/b" + "c" -> "a/b/c"; "" + "c" -> "c". SplitPath does the reverse.
std::string JoinPath(const std::string& dir, const std::string& name);
std::pair<std::string, std::string> SplitPath(const std::string& path);

}  // namespace xzfs
