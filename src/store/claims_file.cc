#include "store/claims_file.h"

#include <fcntl.h>

#include "base/try.h"
#include "store/names.h"
#include "store/xz_writer.h"
#include "xzfs/byte_string.h"

namespace xzfs {
namespace {

// A claim takes 200 bytes and its names: this is room for the claims of a batch of xzfsctl.
constexpr uint64_t kLeastRewrite = uint64_t{64} << 10;
constexpr uint64_t kLeastTruncation = uint64_t{16} << 10;

}  // namespace

Status ClaimsFile::Open() {
  if (file_.valid()) {
    return {};
  }
  const int fd = os_.OpenBeneath(folder_, kName, O_RDWR | O_CREAT | O_EXCL, kPrivateFileMode);
  if (fd < 0) {
    return FailErrno(-fd, "make " + path_ + "/" + kName);
  }
  file_ = Descriptor(os_, fd);
  return {};
}

Status ClaimsFile::Append(const std::string& record) {
  XZFS_RETURN_IF_ERROR(WriteFully(os_, file_.get(), BytesOf(record), end_));
  end_ += record.size();
  return {};
}

Status ClaimsFile::Sync(Mutex& lock) {
  const bool is_named = is_named_;
  const int fd = file_.get();
  lock.Unlock();
  int error = os_.SyncData(fd);
  if (error == 0 && !is_named) {
    error = os_.Sync(folder_);
  }
  lock.Lock();
  if (error < 0) {
    must_rewrite_ = true;
    return FailErrno(-error, "sync " + path_ + "/" + kName);
  }
  is_named_ = true;
  return {};
}

bool ClaimsFile::IsTooLong() const { return end_ > kLeastRewrite && end_ > 2 * rewritten_; }

Status ClaimsFile::Rewrite(const std::string& records) {
  const std::string what = "rewrite " + path_ + "/" + kName;
  if (const int error = os_.Sync(folder_); error < 0) {
    return FailErrno(-error, what);
  }
  const int fd = os_.OpenBeneath(folder_, kNewName, O_RDWR | O_CREAT | O_TRUNC, kPrivateFileMode);
  if (fd < 0) {
    return FailErrno(-fd, what);
  }
  Descriptor fresh(os_, fd);
  XZFS_RETURN_IF_ERROR(WriteFully(os_, fd, BytesOf(records), 0));
  int error = os_.Sync(fd);
  if (error == 0) {
    error = os_.Rename(folder_, kNewName, folder_, kName, 0);
  }
  if (error < 0) {
    os_.Unlink(folder_, kNewName, 0);
    return FailErrno(-error, what);
  }
  file_ = std::move(fresh);
  end_ = rewritten_ = records.size();
  if (error = os_.Sync(folder_); error < 0) {
    must_rewrite_ = true;
    return FailErrno(-error, what);
  }
  is_named_ = true;
  must_rewrite_ = false;
  return {};
}

void ClaimsFile::Clear() {
  if (end_ > kLeastTruncation && os_.Sync(folder_) == 0 && os_.Truncate(file_.get(), 0) == 0) {
    end_ = 0;
    rewritten_ = 0;
  }
}

}  // namespace xzfs
