// A Writer as a std::ostream.
#pragma once

#if __cplusplus < 202002L
#error "xzfs needs C++20: compile with -std=c++20 or later"
#endif

#include <memory>
#include <optional>
#include <ostream>

#include "xzfs/export.h"
#include "xzfs/result.h"
#include "xzfs/writer.h"

namespace xzfs {

// Writes with <<, put and write. A failed write sets badbit, and error() says why. The file
// gets its name in Close, as with Writer: without Close there is no file. Not thread-safe.
class OutputStream final : public std::ostream {
 public:
  XZFS_EXPORT explicit OutputStream(Writer writer);
  XZFS_EXPORT ~OutputStream() override;

  // Completes the file. To be called once. Blocks: on encoding and I/O. Errors: as Writer::Close;
  // also those of earlier writes.
  XZFS_EXPORT Status Close();

  // Why the stream is bad; unset if it isn't.
  XZFS_EXPORT const std::optional<Error>& error() const;

 private:
  class Buffer;
  std::unique_ptr<Buffer> buffer_;
};

}  // namespace xzfs
