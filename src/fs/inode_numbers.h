// The inode numbers that are shown.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "base/mutex.h"

namespace xzfs {

struct FileId;

// Makes one number of a file's device and inode number, as a mount has one device where its source
// may span several. The same file gets the same number as long as the object lives. Thread-safe.
//
//   of the root's device, below 2^62   as it is
//   of another one, below 2^48         bit 62, a tag of the device, the inode number
//   else                               bits 63 and 62, and a mix of both
//
// Only mixed ones may be equal for two files. Numbers with bit 63 and without bit 62 are left to
// the caller.
class InodeNumbers {
 public:
  explicit InodeNumbers(uint64_t root_device) : root_device_(root_device) {}

  uint64_t Of(const FileId& file) EXCLUDES(mutex_);

 private:
  uint64_t TagOf(uint64_t device) EXCLUDES(mutex_);

  const uint64_t root_device_;
  Mutex mutex_;
  // In the order in which devices were seen.
  std::unordered_map<uint64_t, uint64_t> tags_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
