// The identity of one version of a stored file.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <functional>

namespace xzfs {

// Two equal identities mean the same bytes: a change of a file's content changes its ctime. (A
// change within the file system's clock tick, 1 to 10 ms before Linux 6.13, may go unseen; a
// Block's Check then catches what does not fit together.)
struct Identity {
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t size_bytes = 0;
  int64_t mtime_ns = 0;
  int64_t ctime_ns = 0;

  static Identity Of(const struct stat& st) {
    return {st.st_dev, st.st_ino, static_cast<uint64_t>(st.st_size), Nanoseconds(st.st_mtim),
            Nanoseconds(st.st_ctim)};
  }
  bool operator==(const Identity&) const = default;
  // Equal except for the ctime: names, links, mode or attributes may have changed.
  bool HasContentOf(Identity other) const {
    other.ctime_ns = ctime_ns;
    return *this == other;
  }

 private:
  // Wraps for years beyond 2262: still equal for equal times.
  static int64_t Nanoseconds(const struct timespec& t) {
    return static_cast<int64_t>(static_cast<uint64_t>(t.tv_sec) * 1000000000U +
                                static_cast<uint64_t>(t.tv_nsec));
  }
};

// The identity of a file, whatever its content. The device number is that of the running kernel,
// and is never written to the disk.
struct FileId {
  uint64_t device = 0;
  uint64_t inode = 0;

  static FileId Of(const struct stat& st) { return {st.st_dev, st.st_ino}; }
  static FileId Of(const Identity& identity) { return {identity.device, identity.inode}; }
  bool operator==(const FileId&) const = default;
};

struct FileIdHash {
  size_t operator()(const FileId& id) const {
    const uint64_t h = (id.inode + (id.device << 40)) * 0x9E3779B97F4A7C15U;
    return static_cast<size_t>(h ^ (h >> 32));
  }
};

struct IdentityHash {
  size_t operator()(const Identity& id) const {
    uint64_t h = id.inode * 0x9E3779B97F4A7C15U;
    h ^= static_cast<uint64_t>(id.ctime_ns) + id.device + (h >> 29);
    h *= 0xBF58476D1CE4E5B9U;
    return static_cast<size_t>(h ^ (h >> 32) ^ id.size_bytes);
  }
};

}  // namespace xzfs
