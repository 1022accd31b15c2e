#include "store/atomic_file.h"

#include <fcntl.h>
#include <sys/random.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "base/try.h"
#include "store/intents.h"

namespace xzfs {
namespace {

// After 2^64 of them a name may be taken.
std::string TempName() {
  static constexpr char kDigits[] = "0123456789abcdef";
  unsigned char random[8] = {};
  (void)!getrandom(random, sizeof random, 0);
  std::string name = ".xzfs-";
  for (const unsigned char byte : random) {
    name += kDigits[byte >> 4];
    name += kDigits[byte & 15];
  }
  return name + ".tmp";
}

}  // namespace

Result<AtomicFile> AtomicFile::Create(const std::string& path) {
  std::error_code error;
  std::filesystem::path target(path);
  if (std::filesystem::is_symlink(target, error)) {
    target = std::filesystem::weakly_canonical(target, error);
    if (error) {
      return FailErrno(error.value(), "follow the symlink " + path);
    }
  }
  std::string folder_path = target.parent_path().string();
  folder_path = folder_path.empty() ? "." : folder_path;
  const int folder = open(folder_path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) {
    return FailErrno(errno, "open the directory " + folder_path);
  }
  AtomicFile file(Descriptor(Os::Real(), folder), std::move(folder_path),
                  target.filename().string());
  XZFS_RETURN_IF_ERROR(file.Open());
  return file;
}

Status AtomicFile::Open() {
  Os& os = Os::Real();
  const std::string path = folder_path_ + "/" + name_;
  struct stat st = {};
  if (const int error = os.StatAt(folder_.get(), name_, &st); error == 0) {
    if (!S_ISREG(st.st_mode)) {
      return Fail(EINVAL, path + " is not a regular file: it is not replaced");
    }
    replaced_ = st;
  } else if (error != -ENOENT) {
    return FailErrno(-error, "stat " + path);
  }
  temp_name_ = TempName();
  // If others may not read the old file, they may not read the new one before it is complete,
  // either.
  const mode_t mode = replaced_ ? 0600 : 0666;
  const int fd =
      os.OpenBeneath(folder_.get(), temp_name_, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0) {
    temp_name_.clear();
    return FailErrno(-fd, "make a file in " + folder_path_);
  }
  file_ = Descriptor(os, fd);
  if (replaced_) {
    // Only root can change the owner. A user that may write the file may also replace it.
    (void)os.FChangeOwner(fd, replaced_->st_uid, replaced_->st_gid);
    if (const int error = os.FChangeMode(fd, replaced_->st_mode & 0777); error < 0) {
      return FailErrno(-error, "give the mode of " + path + " to its new version");
    }
  }
  return {};
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : folder_(std::move(other.folder_)),
      folder_path_(std::move(other.folder_path_)),
      name_(std::move(other.name_)),
      temp_name_(std::exchange(other.temp_name_, {})),
      file_(std::move(other.file_)),
      replaced_(other.replaced_) {}

AtomicFile::~AtomicFile() {
  if (!temp_name_.empty()) {
    Os::Real().Unlink(folder_.get(), temp_name_, 0);
  }
}

Status AtomicFile::Publish(const PublishOptions& options) {
  Os& os = Os::Real();
  const std::string path = folder_path_ + "/" + name_;
  if (const int failed = options.sync ? os.Sync(fd()) : 0; failed < 0) {
    return FailErrno(-failed, "sync " + path);
  }
  const int error = options.replaces
                        ? os.Rename(folder_.get(), temp_name_, folder_.get(), name_, 0)
                        : RenameOverNothing(os, folder_.get(), temp_name_, folder_.get(), name_);
  if (error < 0) {
    return FailErrno(-error, "rename to " + path);
  }
  temp_name_.clear();
  if (const int failed = options.sync ? os.Sync(folder_.get()) : 0; failed < 0) {
    return FailErrno(-failed, "sync the directory of " + path);
  }
  return {};
}

}  // namespace xzfs
