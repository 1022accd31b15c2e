// Where bytes come from, and where they go, one after another.
#pragma once

#if __cplusplus < 202002L
#error "xzfs needs C++20: compile with -std=c++20 or later"
#endif

#include <cstddef>
#include <functional>
#include <istream>
#include <ostream>
#include <span>

#include "xzfs/export.h"
#include "xzfs/result.h"

namespace xzfs {

// Puts the next bytes into the buffer, and returns how many: as many as there are now, up to all of
// it; 0 only at the end. Called by one thread at a time.
using Source = std::function<Result<size_t>(std::span<std::byte>)>;

// Takes all the bytes, or says why it can't. Called by one thread at a time.
using Sink = std::function<Status(std::span<const std::byte>)>;

// For a file, pipe or socket. The caller owns it, and keeps it open as long as the result is used.
// Blocks: on I/O.
XZFS_EXPORT Source DescriptorSource(int descriptor);
XZFS_EXPORT Sink DescriptorSink(int descriptor);

// For a stream that outlives the result. An error of the stream is EIO of the kind kSystem: streams
// don't say why.
XZFS_EXPORT Source StreamSource(std::istream& stream);
XZFS_EXPORT Sink StreamSink(std::ostream& stream);

}  // namespace xzfs
