#include "lib/opened_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "base/try.h"

namespace xzfs {

Result<std::shared_ptr<const OpenedFile>> OpenedFile::Open(const std::string& path) {
  // Without waiting for the other end of a FIFO.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0) {
    return FailErrno(errno, "open " + path);
  }
  return Of(Descriptor(Os::Real(), fd), path);
}

Result<std::shared_ptr<const OpenedFile>> OpenedFile::Duplicate(int descriptor,
                                                                const std::string& path) {
  const int fd = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
  if (fd < 0) {
    return FailErrno(errno, "duplicate the descriptor of " + path);
  }
  return Of(Descriptor(Os::Real(), fd), path);
}

Result<std::shared_ptr<const OpenedFile>> OpenedFile::Of(Descriptor file, const std::string& path) {
  struct stat st = {};
  if (fstat(file.get(), &st) != 0) {
    return FailErrno(errno, "stat " + path);
  }
  if (!S_ISREG(st.st_mode)) {
    return FailErrno(S_ISDIR(st.st_mode) ? EISDIR : EINVAL, path + " is not a regular file");
  }
  return std::shared_ptr<const OpenedFile>(new OpenedFile(path, std::move(file), st));
}

Result<size_t> OpenedFile::ReadAt(uint64_t offset, std::span<std::byte> out) const {
  Result<size_t> got = stored_.ReadAt(offset, out);
  if (!got) {
    Error error = std::move(got).error();
    error.message += " (" + path_ + ")";
    return Failure(std::move(error));
  }
  XZFS_RETURN_IF_ERROR(CheckUnchanged());
  return got;
}

// A new mode, owner or link is no change.
Status OpenedFile::CheckUnchanged() const {
  struct stat st = {};
  if (fstat(fd(), &st) != 0) {
    return FailErrno(errno, "stat " + path_);
  }
  const Identity now = Identity::Of(st);
  if (now.size_bytes != identity().size_bytes || now.mtime_ns != identity().mtime_ns) {
    return Fail(ESTALE, path_ + " was changed while it was open: open it again");
  }
  return {};
}

}  // namespace xzfs
