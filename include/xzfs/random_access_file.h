// The one read interface: everything that has bytes at offsets.
#pragma once

#if __cplusplus < 202002L
#error "xzfs needs C++20: compile with -std=c++20 or later"
#endif

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "xzfs/export.h"
#include "xzfs/result.h"

namespace xzfs {

// Bytes at offsets: a stored file, the decoded bytes of one, a part of those. Thread-safe: any
// number of threads may read one object. Its content does not change while it lives; when the file
// behind it does, reads fail with kChanged instead of mixing old and new.
class XZFS_EXPORT RandomAccessFile {
 public:
  virtual ~RandomAccessFile() = default;

  // Reads into `out` from `offset`. Returns how many bytes were read: all of `out`, or fewer only
  // when the end of the file is reached (0 at or after the end). Blocks: on I/O and decoding.
  // Errors: kSystem if it can't be read, which may be tried again; kDamaged, kUnsupported and
  // kOverLimit only for what it contains: a Reader of it remembers these.
  virtual Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) const = 0;

  // In bytes.
  virtual uint64_t size() const = 0;

  // Says that these bytes will be read soon, so that the object can begin to fetch them. A hint: it
  // never waits for them, and without it only time is lost.
  virtual void WillRead(uint64_t /*offset*/, uint64_t /*length*/) const {}
};

// Reads exactly `out.size()` bytes. Fails with kDamaged if there are fewer, since the caller knew
// that they must be there.
inline Status ReadFully(const RandomAccessFile& file, uint64_t offset, std::span<std::byte> out) {
  const Result<size_t> read = file.ReadAt(offset, out);
  if (!read) {
    return Failure(read.error());
  }
  const size_t got = *read;
  if (got != out.size()) {
    return Failure(Error{ErrorKind::kDamaged, EIO,
                         "the stored file ends " + std::to_string(out.size() - got) +
                             " bytes early: it was truncated"});
  }
  return {};
}

}  // namespace xzfs
