// What operations on a mount take and return.
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
  // Where the line after this one begins; valid as long as the directory exists.
  uint64_t next_offset = 0;
  uint64_t inode = 0;
  uint8_t type = 0;                    // DT_*
  std::optional<LookupResult> lookup;  // if the caller asked for it; not for "." and ".."
  // A plain file: a commit moves it to another line.
  bool may_move = false;
};

// Decoded bytes of a file: whole pages.
struct DecodedRange {
  NodeId node = 0;
  uint64_t offset = 0;
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;  // of bytes
  // Returns false if the file may have changed since the bytes were decoded.
  std::function<bool()> still_good;
  // The caller calls it when the kernel has the bytes; may be null.
  std::function<void()> on_handed_over = nullptr;
};

// A part of a file in the kernel's page cache. `length` 0: up to the end.
struct PageRange {
  NodeId node = 0;
  uint64_t offset = 0;
  uint64_t length = 0;
};

struct Appended {
  size_t bytes = 0;
  // Set if the bytes are not where the kernel expects them: its pages from this offset on are
  // wrong.
  std::optional<uint64_t> stale_from = std::nullopt;
};

// Attributes that are not set stay as they are. Times may be UTIME_NOW.
struct AttributeChange {
  std::optional<mode_t> mode;
  std::optional<uid_t> uid;
  std::optional<gid_t> gid;
  std::optional<uint64_t> size;
  std::optional<struct timespec> atime;
  std::optional<struct timespec> mtime;
};

}  // namespace xzfs
