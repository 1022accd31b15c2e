// The identity of a stored file, valid across reboots.
#pragma once

#include <cstdint>

#include "base/identity.h"
#include "base/os.h"

namespace xzfs {

// How our records on the disk name a stored file. The device is not part of it, since device
// numbers change at each boot: a record is about the file system that its `.xzfs/` lies in. The
// ctime isn't part of it either: chmod, rename and link change it and leave the bytes as they are.
struct StoredKey {
  uint64_t inode = 0;
  uint64_t size_bytes = 0;
  int64_t mtime_ns = 0;
  int64_t birth_ns = 0;  // 0: not known

  static StoredKey Of(const FileFacts& facts) {
    const Identity identity = Identity::Of(facts.attributes);
    return {identity.inode, identity.size_bytes, identity.mtime_ns, facts.birth_ns};
  }
  // Both are the same file with the same content, as far as they say.
  bool Matches(const StoredKey& other) const {
    return inode == other.inode && size_bytes == other.size_bytes && mtime_ns == other.mtime_ns &&
           (birth_ns == 0 || other.birth_ns == 0 || birth_ns == other.birth_ns);
  }
  bool operator==(const StoredKey&) const = default;
};

}  // namespace xzfs
