// What operations on a mount answer.
#pragma once

#include <sys/stat.h>

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
  std::function<void()> on_stored = nullptr;  // to be called when the kernel has them; may be null
};

// Of a file, as the kernel caches it. `length` 0: to the end.
struct PageRange {
  NodeId node = 0;
  uint64_t offset = 0;
  uint64_t length = 0;
};

// What `user.xzfs.info` tells of a file.
struct FileFigures {
  std::string stored_name;
  StoredKind kind = StoredKind::kPlain;
  bool edited = false;
  Format format = Format::kXz;
  uint64_t plain_size = 0;
  uint64_t stored_size = 0;
  uint64_t allocated_bytes = 0;
  std::optional<std::string> damage;
  std::optional<std::string> unsupported;  // what this liblzma can't read of it
  bool has_index = true;
  std::optional<std::string> stays_plain;  // why, of a plain file
  // kCompressed and not damaged:
  uint64_t stream_count = 0;
  uint64_t block_count = 0;
  uint64_t largest_block = 0;
  std::vector<std::string> checks;
  std::string filters;  // of the first Block; empty without Blocks
};

}  // namespace xzfs
