#include "xzfs/source_sink.h"

#include <unistd.h>

#include <cerrno>

#include "base/fail.h"

namespace xzfs {

Source DescriptorSource(int descriptor) {
  return [descriptor](std::span<std::byte> out) -> Result<size_t> {
    for (;;) {
      const ssize_t got = read(descriptor, out.data(), out.size());
      if (got >= 0) {
        return static_cast<size_t>(got);
      }
      if (errno != EINTR) {
        return FailErrno(errno, "read from descriptor " + std::to_string(descriptor));
      }
    }
  };
}

Sink DescriptorSink(int descriptor) {
  return [descriptor](std::span<const std::byte> bytes) -> Status {
    while (!bytes.empty()) {
      const ssize_t put = write(descriptor, bytes.data(), bytes.size());
      if (put < 0 && errno != EINTR) {
        return FailErrno(errno, "write to descriptor " + std::to_string(descriptor));
      }
      bytes = bytes.subspan(put < 0 ? 0 : static_cast<size_t>(put));
    }
    return {};
  };
}

Source StreamSource(std::istream& stream) {
  return [&stream](std::span<std::byte> out) -> Result<size_t> {
    stream.read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(out.size()));
    if (stream.bad()) {
      return FailErrno(EIO, "read from a stream");
    }
    return static_cast<size_t>(stream.gcount());
  };
}

Sink StreamSink(std::ostream& stream) {
  return [&stream](std::span<const std::byte> bytes) -> Status {
    stream.write(reinterpret_cast<const char*>(bytes.data()),
                 static_cast<std::streamsize>(bytes.size()));
    return stream ? Status() : Status(FailErrno(EIO, "write to a stream"));
  };
}

}  // namespace xzfs
