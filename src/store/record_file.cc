#include "store/record_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

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
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = os.PRead(
        fd, std::as_writable_bytes(std::span(bytes.data() + done, bytes.size() - done)), done);
    if (got < 0) {
      return FailErrno(static_cast<int>(-got), "read " + path);
    }
    if (got == 0) {
      break;
    }
    done += static_cast<size_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

}  // namespace xzfs
