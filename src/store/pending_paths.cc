#include "store/pending_paths.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/try.h"
#include "store/names.h"
#include "store/record_file.h"
#include "store/records.h"

namespace xzfs {

Status PendingPaths::Note(const std::string& path, const Paths& alive) {
  const std::string record = RecordOf(path);
  MutexLock lock(mutex_);
  if (!file_.valid()) {
    const int fd = os_.OpenBeneath(folder_, kName, O_RDWR | O_CREAT, kPrivateFileMode);
    if (fd < 0) {
      return FailErrno(-fd, "open " + path_ + "/" + kName);
    }
    file_ = Descriptor(os_, fd);
  }
  // Writes at the end that we know, over what a failed write left there.
  XZFS_RETURN_IF_ERROR(WriteRecord(os_, file_.get(), record, bytes_));
  bytes_ += record.size();
  if (bytes_ > rewrite_at_) {
    Status rewritten = Rewrite(alive());  // after an error the file stays as it is
    rewrite_at_ = std::max(kLeastRewriteBytes, 2 * bytes_);
    return rewritten;
  }
  return {};
}

void PendingPaths::KeepIf(const std::function<bool()>& idle, const Paths& alive) {
  MutexLock lock(mutex_);
  if (!file_.valid() || bytes_ == 0 || !idle()) {
    return;
  }
  const std::vector<std::string> paths = alive();
  if (!paths.empty()) {
    static_cast<void>(Rewrite(paths));  // too many paths do no harm
  } else if (os_.Truncate(file_.get(), 0) == 0) {
    bytes_ = 0;
  }
}

// The old list keeps the name until the new one is complete.
Status PendingPaths::Rewrite(const std::vector<std::string>& paths) {
  std::string bytes;
  for (const std::string& path : paths) {
    PutRecord(bytes, path);
  }
  const std::string fresh = std::string(kName) + ".tmp";  // the next mount would remove it
  const int fd = os_.OpenBeneath(folder_, fresh, O_RDWR | O_CREAT | O_TRUNC, kPrivateFileMode);
  if (fd < 0) {
    return FailErrno(-fd, "make " + path_ + "/" + fresh);
  }
  Descriptor file(os_, fd);
  Status made = WriteRecord(os_, fd, bytes, 0);
  if (made) {
    const int error = os_.Rename(folder_, fresh, folder_, kName, 0);
    made = error < 0 ? Status(FailErrno(-error, "rename " + path_ + "/" + fresh)) : Status();
  }
  if (!made) {
    os_.Unlink(folder_, fresh, 0);
    return made;
  }
  file_ = std::move(file);
  bytes_ = bytes.size();
  return {};
}

Result<std::vector<std::string>> PendingPaths::Read() const {
  std::vector<std::string> paths;
  const Result<std::string> bytes = ReadRecordFile(os_, folder_, kName, path_ + "/" + kName);
  if (!bytes) {
    return bytes.error().code == ENOENT ? Result<decltype(paths)>(std::move(paths))
                                        : Failure(bytes.error());
  }
  RecordParser parser(*bytes);
  for (std::string path; parser.Record(path);) {
    paths.push_back(path);
  }
  return paths;
}

bool PendingPaths::HasAny() const {
  const auto paths = Read();
  return !paths || !paths->empty();
}

void PendingPaths::Remove() {
  MutexLock lock(mutex_);
  file_ = Descriptor();
  os_.Unlink(folder_, kName, 0);
}

}  // namespace xzfs
