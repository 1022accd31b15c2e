// Whatever has bytes at offsets as a std::istream.
#pragma once

#include <istream>
#include <memory>

#include "xzfs/export.h"
#include "xzfs/random_access_file.h"
#include "xzfs/result.h"

namespace xzfs {

// Reads a Reader, or any RandomAccessFile, with getline, read, seekg and tellg. One that can't be
// read sets badbit, and error() says why. Not thread-safe; several streams may share a file.
class InputStream final : public std::istream {
 public:
  XZFS_EXPORT explicit InputStream(std::shared_ptr<const RandomAccessFile> file);
  XZFS_EXPORT ~InputStream() override;

  // Why the stream is bad; no error if it isn't.
  XZFS_EXPORT const Status& error() const;

 private:
  class Buffer;
  std::unique_ptr<Buffer> buffer_;
};

}  // namespace xzfs
