// Anything that has bytes at offsets, as a std::istream.
#pragma once

#if __cplusplus < 202002L
#error "xzfs needs C++20: compile with -std=c++20 or later"
#endif

#include <istream>
#include <memory>
#include <optional>

#include "xzfs/export.h"
#include "xzfs/random_access_file.h"
#include "xzfs/reader.h"
#include "xzfs/result.h"

namespace xzfs {

// Reads a Reader, or any RandomAccessFile, with getline, read, seekg and tellg. A failed
// read sets badbit, and error() says why. Not thread-safe; several streams may share a file.
class InputStream final : public std::istream {
 public:
  XZFS_EXPORT explicit InputStream(Reader reader);
  XZFS_EXPORT explicit InputStream(std::shared_ptr<const RandomAccessFile> file);
  XZFS_EXPORT ~InputStream() override;

  // Why the stream is bad; unset if it isn't.
  XZFS_EXPORT const std::optional<Error>& error() const;

 private:
  class Buffer;
  std::unique_ptr<Buffer> buffer_;
};

}  // namespace xzfs
