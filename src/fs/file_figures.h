// Reports of one file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "store/source_dir.h"
#include "xzfs/block_index.h"

namespace xzfs {

// What `user.xzfs.info` reports of a file.
struct FileFigures {
  std::string stored_name;
  StoredKind kind = StoredKind::kPlain;
  bool edited = false;
  Format format = Format::kXz;
  uint64_t plain_size = 0;
  uint64_t stored_size = 0;
  std::string stored_version;  // kCompressed: names the bytes that are stored, for ReadStored
  uint64_t allocated_bytes = 0;
  std::optional<std::string> damage;
  std::optional<std::string> unsupported;  // what of it this liblzma can't read
  bool has_index = true;
  std::optional<std::string> stays_plain;  // the reason, for a plain file
  // kCompressed and not damaged:
  uint64_t stream_count = 0;
  uint64_t block_count = 0;
  uint64_t largest_block = 0;
  std::vector<std::string> checks;
  std::string filters;  // of the first Block; empty if there is none
};

// A file that should be committed and is not.
struct Uncommitted {
  std::string path;  // as the mount shows it
  std::string reason;
  bool is_given_up = false;  // until it changes or the source is mounted again; else it waits
};

}  // namespace xzfs
