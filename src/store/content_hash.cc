#include "store/content_hash.h"

#include <fcntl.h>

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "base/fail.h"
#include "xz/stream_builder.h"

namespace xzfs {
namespace {

constexpr uint64_t kTailBytes = uint64_t{64} << 10;

}  // namespace

Result<uint64_t> ContentHash(Os& os, int fd) {
  struct stat st = {};
  if (const int error = os.FStat(fd, &st); error < 0) {
    return FailErrno(-error, "stat a stored file");
  }
  const auto size = static_cast<uint64_t>(st.st_size);
  std::vector<std::byte> tail(std::min(size, kTailBytes));
  const ssize_t got = os.ReadAll(fd, tail, size - tail.size());
  if (got != static_cast<ssize_t>(tail.size())) {
    return FailErrno(got < 0 ? static_cast<int>(-got) : EIO, "read a stored file");
  }
  const uint64_t hash = Crc64(tail);
  return hash == 0 ? uint64_t{1} : hash;
}

Result<uint64_t> ContentHashAt(Os& os, int dir, const std::string& name) {
  const Descriptor file(os, os.OpenBeneath(dir, name, O_RDONLY | O_NONBLOCK));
  if (!file.valid()) {
    return FailErrno(-file.get(), "open " + name);
  }
  return ContentHash(os, file.get());
}

}  // namespace xzfs
