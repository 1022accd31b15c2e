// The folders with decoder test files.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <vector>

namespace xzfs {

// The files that the build made (tests/corpus), and those in XZFS_CORPUS or in a folder beside the
// project, if it exists.
inline std::vector<std::filesystem::path> Corpora() {
  std::vector<std::filesystem::path> folders = {XZFS_MADE_CORPUS};
  const char* const named = std::getenv("XZFS_CORPUS");
  const std::filesystem::path other = named != nullptr ? named : XZFS_OTHER_CORPUS;
  if (std::filesystem::is_directory(other)) {
    folders.push_back(other);
  }
  return folders;
}

}  // namespace xzfs
