// What goes between a source, a coder and a sink.
#pragma once

#include <cstddef>
#include <span>

#include "xzfs/source_sink.h"

namespace xzfs {

// As much as a pipe holds: a call costs little beside the coding of so many bytes.
inline constexpr size_t kStreamBufferBytes = size_t{64} << 10;

// A coder often puts nothing out. Then the sink isn't called.
inline Status PutAll(const Sink& sink, std::span<const std::byte> bytes) {
  return bytes.empty() ? Status() : sink(bytes);
}

}  // namespace xzfs
