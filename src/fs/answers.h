// What operations on a mount are told and answer.
#pragma once

#include <sys/stat.h>
#include <time.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fs/node.h"
#include "store/source_dir.h"
#include "xzfs/block_index.h"
#include "xzfs/result.h"

namespace xzfs {

// A file as lookup and readdirplus report it. Each one handed out counts as one lookup of its node,
// which Forget takes back.
struct LookupResult {
  NodeId node = 0;
  struct stat attributes = {};
  // A compressed file that is decoded in well under a millisecond.
  bool small = false;
};

// One line of a directory.
struct DirectoryLine {
  std::string name;
  uint64_t next_offset =
      0;  // where to go on after this line; valid as long as the directory exists
  uint64_t inode = 0;
  uint8_t type = 0;                    // DT_*
  std::optional<LookupResult> lookup;  // if asked for; not for "." and ".."
  // It's a regular file that is stored as it is: a commit gives it another line.
  bool may_move = false;
};

// Decoded bytes of a file, whole pages of it.
struct DecodedRange {
  NodeId node = 0;
  uint64_t offset = 0;
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;  // of bytes
  // False when the file may have been changed since they were decoded.
  std::function<bool()> still_good;
  // To be called when the kernel has them; may be null.
  std::function<void()> on_handed_over = nullptr;
};

// Of a file, as the kernel caches it. `length` 0: to the end.
struct PageRange {
  NodeId node = 0;
  uint64_t offset = 0;
  uint64_t length = 0;
};

struct Appended {
  size_t bytes = 0;
  // If they are not where the kernel takes them to be: what it has from here on is not the
  // file's.
  std::optional<uint64_t> stale_from = std::nullopt;
};

// What is not set stays. Times may be UTIME_NOW.
struct AttributeChange {
  std::optional<mode_t> mode;
  std::optional<uid_t> uid;
  std::optional<gid_t> gid;
  std::optional<uint64_t> size;
  std::optional<struct timespec> atime;
  std::optional<struct timespec> mtime;
};

}  // namespace xzfs
