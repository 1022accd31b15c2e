// What files take: plain, and on the disk.
#pragma once

#include <cstdint>

#include "ctl/replace/tree.h"
#include "ctl/shell/console.h"

namespace xzfs {

struct FileSizes {
  uint64_t files = 0;
  uint64_t compressed_files = 0;
  uint64_t plain_bytes = 0;  // as a mount shows them
  uint64_t disk_bytes = 0;   // allocated

  void Add(const FileSizes& other) {
    files += other.files;
    compressed_files += other.compressed_files;
    plain_bytes += other.plain_bytes;
    disk_bytes += other.disk_bytes;
  }
  // Holes and blocks that aren't full may make it negative.
  int64_t saved_bytes() const {
    return static_cast<int64_t>(plain_bytes) - static_cast<int64_t>(disk_bytes);
  }
};

// Of one file. Nothing is decoded: the plain size is what the Index says. A compressed file whose
// Index can't be read counts as plain, and the console is told.
FileSizes SizesOf(Console& console, const FoundFile& file);

}  // namespace xzfs
