// A file of the file system that is read, and must not change while it is open.
#pragma once

#include <sys/types.h>

#include <limits>
#include <memory>
#include <string>
#include <utility>

#include "base/identity.h"
#include "base/os.h"
#include "store/xz_writer.h"
#include "xzfs/random_access_file.h"

namespace xzfs {

// Thread-safe.
class OpenedFile : public RandomAccessFile {
 public:
  // Errors: what the system said; EISDIR and EINVAL if it isn't a regular file.
  static Result<std::shared_ptr<const OpenedFile>> Open(const std::string& path);
  // The file that `descriptor` is open for, by a duplicate of it. `path` is for messages.
  static Result<std::shared_ptr<const OpenedFile>> Duplicate(int descriptor,
                                                             const std::string& path);

  // Reads to the real end: a file that the kernel makes up when it is read (/proc, /sys) has more
  // or fewer bytes than size(). ESTALE if the file has changed since it was opened.
  Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) const override;
  uint64_t size() const override { return identity().size_bytes; }
  void WillRead(uint64_t offset, uint64_t length) const override {
    Os::Real().StartReading(fd(), offset, length);
  }

  // Errors: ESTALE.
  Status CheckUnchanged() const;

  // As they were when it was opened.
  const struct stat& attributes() const { return attributes_; }
  Identity identity() const { return Identity::Of(attributes_); }
  int fd() const { return file_.get(); }
  const std::string& path() const { return path_; }

 private:
  static Result<std::shared_ptr<const OpenedFile>> Of(Descriptor file, const std::string& path);

  OpenedFile(std::string path, Descriptor file, const struct stat& attributes)
      : path_(std::move(path)),
        file_(std::move(file)),
        attributes_(attributes),
        stored_(Os::Real(), file_.get(), std::numeric_limits<off_t>::max()) {}

  const std::string path_;
  const Descriptor file_;
  const struct stat attributes_;
  const StoredFile stored_;
};

}  // namespace xzfs
