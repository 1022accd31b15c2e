#include "store/record_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/fail.h"
#include "xzfs/byte_string.h"

namespace xzfs {
namespace {

constexpr uint64_t kMostBytes = uint64_t{64} << 20;

}  // namespace

Result<std::string> ReadRecordFile(Os& os, int folder, const std::string& name,
                                   const std::string& path) {
  const int fd = os.OpenBeneath(folder, name, O_RDONLY | O_NONBLOCK);
  if (fd < 0) {
    return FailErrno(-fd, "open " + path);
  }
  const Descriptor file(os, fd);
  struct stat st = {};
  if (const int error = os.FStat(fd, &st); error < 0) {
    return FailErrno(-error, "stat " + path);
  }
  std::string bytes(std::min<uint64_t>(static_cast<uint64_t>(st.st_size), kMostBytes), '\0');
  const ssize_t got = os.ReadAll(fd, std::as_writable_bytes(std::span(bytes)), 0);
  if (got < 0) {
    return FailErrno(static_cast<int>(-got), "read " + path);
  }
  bytes.resize(static_cast<size_t>(got));
  return bytes;
}

Status WriteRecord(Os& os, int fd, std::string_view bytes, uint64_t offset) {
  const int error = os.WriteAll(fd, BytesOf(bytes), offset);
  return error < 0 ? Status(FailErrno(-error, "write in .xzfs")) : Status();
}

}  // namespace xzfs
