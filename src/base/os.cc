// Most calls are one system call, repeated while a signal interrupts it; a failure is -errno. The
// rest of this file is for what one system call can't do:
//   - Staying in a directory: OpenBeneath takes a single component and asks openat2. Where the
//     kernel has no openat2, openat with O_NOFOLLOW is as safe for a single component.
//   - Calls that exist only with a path, or that follow symlinks (extended attributes, chmod), get
//     a path below /proc/self/fd. So /proc must be mounted.
//   - File systems that do less than they say: statfs tells which they are. This is so for an
//     append on FUSE, a birth time on overlayfs and a lease on a shared file system.
//
// The object remembers two things: whether openat2 works, and whether O_NOATIME does. Both are
// flags that only ever become false, so threads need no lock.
#include "base/os.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "base/shared_filesystem.h"

namespace xzfs {
namespace {

template <class Call>
auto Retry(Call call) -> decltype(call()) {
  for (;;) {
    const auto result = call();
    if (result >= 0) {
      return result;
    }
    if (errno != EINTR) {
      return static_cast<decltype(call())>(-errno);
    }
  }
}

bool IsOneComponent(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos;
}

// "DIR/NAME" through the descriptor of DIR: for the calls that exist only with a path. The last
// component is not followed by the l* calls.
std::string ProcPath(int dir, const std::string& name) {
  return "/proc/self/fd/" + std::to_string(dir) + "/" + name;
}

constexpr decltype(statfs::f_type) kOverlayFs = 0x794C7630;

struct timespec TimeOf(const struct statx_timestamp& time) {
  return {.tv_sec = static_cast<time_t>(time.tv_sec), .tv_nsec = time.tv_nsec};
}

FileFacts FactsOf(const struct statx& from) {
  FileFacts facts;
  struct stat& st = facts.attributes;
  st.st_dev = makedev(from.stx_dev_major, from.stx_dev_minor);
  st.st_ino = from.stx_ino;
  st.st_mode = from.stx_mode;
  st.st_nlink = from.stx_nlink;
  st.st_uid = from.stx_uid;
  st.st_gid = from.stx_gid;
  st.st_rdev = makedev(from.stx_rdev_major, from.stx_rdev_minor);
  st.st_size = static_cast<off_t>(from.stx_size);
  st.st_blksize = static_cast<blksize_t>(from.stx_blksize);
  st.st_blocks = static_cast<blkcnt_t>(from.stx_blocks);
  st.st_atim = TimeOf(from.stx_atime);
  st.st_mtim = TimeOf(from.stx_mtime);
  st.st_ctim = TimeOf(from.stx_ctime);
  if ((from.stx_mask & STATX_BTIME) != 0) {
    // Wraps for years beyond 2262: still equal for equal times.
    facts.birth_ns = static_cast<int64_t>(
        static_cast<uint64_t>(from.stx_btime.tv_sec) * 1000000000U + from.stx_btime.tv_nsec);
  }
  facts.mount_id = (from.stx_mask & STATX_MNT_ID) != 0 ? from.stx_mnt_id : 0;
  facts.is_immutable = (from.stx_attributes & STATX_ATTR_IMMUTABLE) != 0;
  facts.is_append_only = (from.stx_attributes & STATX_ATTR_APPEND) != 0;
  return facts;
}

class RealOs : public Os {
 public:
  int OpenBeneath(int dir, const std::string& name, int flags, mode_t mode) override {
    if (!IsOneComponent(name)) {
      return -EINVAL;
    }
    flags |= O_CLOEXEC | O_NOCTTY | O_NOFOLLOW;
    const bool noatime =
        (flags & (O_PATH | O_CREAT)) == 0 && noatime_works_.load(std::memory_order_relaxed);
    int fd = Open(dir, name, noatime ? flags | O_NOATIME : flags, mode);
    if (fd == -EPERM && noatime) {
      // Only the owner of a file (or root) may ask for it. If we lack that right on one file we
      // lack it on most: so don't ask again.
      fd = Open(dir, name, flags, mode);
      if (fd >= 0) {
        noatime_works_.store(false, std::memory_order_relaxed);
      }
    }
    return fd;
  }

  void Close(int fd) override { ::close(fd); }

  int FStat(int fd, struct stat* out) override {
    return Retry([&] { return ::fstat(fd, out); });
  }

  int StatAt(int dir, const std::string& name, struct stat* out) override {
    return Retry([&] { return ::fstatat(dir, name.c_str(), out, AT_SYMLINK_NOFOLLOW); });
  }

  int FactsAt(int dir, const std::string& name, FileFacts* out) override {
    struct statx found = {};
    const int result = Retry([&] {
      return ::statx(dir, name.c_str(), AT_SYMLINK_NOFOLLOW | (name.empty() ? AT_EMPTY_PATH : 0),
                     STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID, &found);
    });
    if (result == 0) {
      *out = FactsOf(found);
      struct statfs fs = {};
      if (out->birth_ns != 0 && ::fstatfs(dir, &fs) == 0 && fs.f_type == kOverlayFs) {
        out->birth_ns =
            0;  // a change may copy the file to another layer, and so give it a later birth
      }
    }
    return result;
  }

  int MayWriteAt(int dir, const std::string& name) override {
    return Retry(
        [&] { return ::faccessat(dir, name.c_str(), W_OK, AT_EACCESS | AT_SYMLINK_NOFOLLOW); });
  }

  bool IsRemote(int fd) override {
    struct statfs st = {};
    return ::fstatfs(fd, &st) == 0 && !SharedFilesystem(st.f_type).empty();
  }

  bool KeepsOrder(int fd) override {
    struct statfs st = {};
    const auto type = ::fstatfs(fd, &st) == 0 ? static_cast<uint32_t>(st.f_type) : 0;
    return type == EXT4_SUPER_MAGIC || type == XFS_SUPER_MAGIC || type == TMPFS_MAGIC;
  }

  ssize_t PRead(int fd, std::span<std::byte> out, uint64_t offset) override {
    return Retry([&] { return ::pread(fd, out.data(), out.size(), static_cast<off_t>(offset)); });
  }

  ssize_t ReadLinkAt(int dir, const std::string& name, std::span<char> out) override {
    return Retry([&] { return ::readlinkat(dir, name.c_str(), out.data(), out.size()); });
  }

  int64_t Seek(int fd, int64_t offset, int whence) override {
    return Retry([&] { return int64_t{::lseek(fd, offset, whence)}; });
  }

  ssize_t GetDents(int fd, std::span<std::byte> out) override {
    return Retry([&] { return ssize_t{::syscall(SYS_getdents64, fd, out.data(), out.size())}; });
  }

  ssize_t GetXattrAt(int dir, const std::string& name, const std::string& key,
                     std::span<char> out) override {
    const std::string path = ProcPath(dir, name);
    return Retry([&] { return ::lgetxattr(path.c_str(), key.c_str(), out.data(), out.size()); });
  }

  ssize_t ListXattrAt(int dir, const std::string& name, std::span<char> out) override {
    const std::string path = ProcPath(dir, name);
    return Retry([&] { return ::llistxattr(path.c_str(), out.data(), out.size()); });
  }

  int StatVfs(int fd, struct statvfs* out) override {
    return Retry([&] { return ::fstatvfs(fd, out); });
  }

  ssize_t PWrite(int fd, std::span<const std::byte> bytes, uint64_t offset) override {
    return Retry(
        [&] { return ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset)); });
  }

  ssize_t Append(int fd, std::span<const std::byte> bytes, uint64_t* end) override {
    ssize_t put = -EOPNOTSUPP;
    if (!PassesOffsetsOn(fd)) {
      // libc only reads from it.
      const struct iovec part = {const_cast<std::byte*>(bytes.data()), bytes.size()};
      put = Retry([&] { return ::pwritev2(fd, &part, 1, /*offset=*/-1, RWF_APPEND); });
      *end = static_cast<uint64_t>(::lseek(fd, 0, SEEK_CUR));
    }
    return put == -EOPNOTSUPP || put == -ENOSYS ? AppendByReopening(fd, bytes, end) : put;
  }

  int Truncate(int fd, uint64_t size) override {
    return Retry([&] { return ::ftruncate(fd, static_cast<off_t>(size)); });
  }

  int Allocate(int fd, int mode, uint64_t offset, uint64_t length) override {
    return Retry([&] {
      return ::fallocate(fd, mode, static_cast<off_t>(offset), static_cast<off_t>(length));
    });
  }

  void StartReading(int fd, uint64_t offset, uint64_t length) override {
    (void)posix_fadvise(fd, static_cast<off_t>(offset), static_cast<off_t>(length),
                        POSIX_FADV_WILLNEED);
  }
  void StartWriting(int fd, uint64_t offset, uint64_t length) override {
    ::sync_file_range(fd, static_cast<off_t>(offset), static_cast<off_t>(length),
                      SYNC_FILE_RANGE_WRITE);
  }

  int Sync(int fd) override {
    return Retry([&] { return ::fsync(fd); });
  }
  int SyncData(int fd) override {
    return Retry([&] { return ::fdatasync(fd); });
  }

  ssize_t CopyRange(int from, uint64_t from_offset, int to, uint64_t to_offset,
                    size_t length) override {
    return Retry([&] {
      auto in = static_cast<off_t>(from_offset);
      auto out = static_cast<off_t>(to_offset);
      return ::copy_file_range(from, &in, to, &out, length, 0);
    });
  }

  int MakeDir(int dir, const std::string& name, mode_t mode) override {
    return Retry([&] { return ::mkdirat(dir, name.c_str(), mode); });
  }

  int MakeNode(int dir, const std::string& name, mode_t mode, dev_t device) override {
    return Retry([&] { return ::mknodat(dir, name.c_str(), mode, device); });
  }

  int MakeSymlink(const std::string& target, int dir, const std::string& name) override {
    return Retry([&] { return ::symlinkat(target.c_str(), dir, name.c_str()); });
  }

  int Link(int from_dir, const std::string& from, int to_dir, const std::string& to) override {
    return Retry([&] { return ::linkat(from_dir, from.c_str(), to_dir, to.c_str(), 0); });
  }

  int Rename(int from_dir, const std::string& from, int to_dir, const std::string& to,
             unsigned flags) override {
    return Retry([&] { return ::renameat2(from_dir, from.c_str(), to_dir, to.c_str(), flags); });
  }

  int Unlink(int dir, const std::string& name, int flags) override {
    return Retry([&] { return ::unlinkat(dir, name.c_str(), flags); });
  }

  int ChangeMode(int dir, const std::string& name, mode_t mode) override {
    // fchmodat(2) follows symlinks, and a form that doesn't exists only since Linux 6.6. A
    // descriptor that was opened without following works with every version.
    const int fd = Open(dir, name, O_PATH | O_CLOEXEC | O_NOFOLLOW, 0);
    if (fd < 0) {
      return fd;
    }
    struct stat st = {};
    int result = FStat(fd, &st);
    if (result == 0 && S_ISLNK(st.st_mode)) {
      result = -EOPNOTSUPP;
    } else if (result == 0) {
      const std::string path = "/proc/self/fd/" + std::to_string(fd);
      result = Retry([&] { return ::chmod(path.c_str(), mode); });
    }
    ::close(fd);
    return result;
  }

  int ChangeOwner(int dir, const std::string& name, uid_t owner, gid_t group) override {
    return Retry([&] { return ::fchownat(dir, name.c_str(), owner, group, AT_SYMLINK_NOFOLLOW); });
  }

  int SetTimes(int dir, const std::string& name, const struct timespec times[2]) override {
    return Retry([&] { return ::utimensat(dir, name.c_str(), times, AT_SYMLINK_NOFOLLOW); });
  }

  int SetXattrAt(int dir, const std::string& name, const std::string& key,
                 std::span<const char> value, int flags) override {
    const std::string path = ProcPath(dir, name);
    return Retry(
        [&] { return ::lsetxattr(path.c_str(), key.c_str(), value.data(), value.size(), flags); });
  }

  int RemoveXattrAt(int dir, const std::string& name, const std::string& key) override {
    const std::string path = ProcPath(dir, name);
    return Retry([&] { return ::lremovexattr(path.c_str(), key.c_str()); });
  }

  int FChangeMode(int fd, mode_t mode) override {
    return Retry([&] { return ::fchmod(fd, mode); });
  }

  int FChangeOwner(int fd, uid_t owner, gid_t group) override {
    return Retry([&] { return ::fchown(fd, owner, group); });
  }

  int FSetTimes(int fd, const struct timespec times[2]) override {
    return Retry([&] { return ::futimens(fd, times); });
  }

  ssize_t FGetXattr(int fd, const std::string& key, std::span<char> out) override {
    return Retry([&] { return ::fgetxattr(fd, key.c_str(), out.data(), out.size()); });
  }

  ssize_t FListXattr(int fd, std::span<char> out) override {
    return Retry([&] { return ::flistxattr(fd, out.data(), out.size()); });
  }

  int FSetXattr(int fd, const std::string& key, std::span<const char> value, int flags) override {
    return Retry([&] { return ::fsetxattr(fd, key.c_str(), value.data(), value.size(), flags); });
  }

  int FRemoveXattr(int fd, const std::string& key) override {
    return Retry([&] { return ::fremovexattr(fd, key.c_str()); });
  }

  int Lock(int fd) override {
    return Retry([&] { return ::flock(fd, LOCK_EX); });
  }

  int TryLock(int fd) override {
    return Retry([&] { return ::flock(fd, LOCK_EX | LOCK_NB); });
  }

  void Unlock(int fd) override { ::flock(fd, LOCK_UN); }

  int TakeLease(int fd) override {
    // The kernel sends this when a process opens a leased file. Unless it is ignored, it ends our
    // program.
    static const bool ignored = ::signal(SIGIO, SIG_IGN) != SIG_ERR;
    if (!ignored) {
      return -EINVAL;
    }
    const int error = Retry([&] { return ::fcntl(fd, F_SETLEASE, F_RDLCK); });
    struct statfs fs = {};
    if (error == 0 && (::fstatfs(fd, &fs) != 0 || !SharedFilesystem(fs.f_type).empty())) {
      ReleaseLease(fd);  // it would only keep out processes of this kernel
      return -EOPNOTSUPP;
    }
    return error;
  }

  bool HasLease(int fd) override { return ::fcntl(fd, F_GETLEASE) == F_RDLCK; }

  void ReleaseLease(int fd) override { ::fcntl(fd, F_SETLEASE, F_UNLCK); }

 private:
  // RWF_APPEND writes at the end that our kernel knows. A file system in user space only gets that
  // offset; it learns from the descriptor's flag that this is an append.
  static bool PassesOffsetsOn(int fd) {
    struct statfs fs = {};
    return ::fstatfs(fd, &fs) == 0 && fs.f_type == FUSE_SUPER_MAGIC;
  }

  static ssize_t AppendByReopening(int fd, std::span<const std::byte> bytes, uint64_t* end) {
    const std::string path = "/proc/self/fd/" + std::to_string(fd);
    const int again =
        Retry([&] { return ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NONBLOCK); });
    if (again < 0) {
      return again;
    }
    const ssize_t put = Retry([&] { return ::write(again, bytes.data(), bytes.size()); });
    *end = static_cast<uint64_t>(::lseek(again, 0, SEEK_CUR));
    ::close(again);
    return put;
  }

  int Open(int dir, const std::string& name, int flags, mode_t mode) {
    if (openat2_works_.load(std::memory_order_relaxed)) {
      struct open_how how = {};
      how.flags = static_cast<unsigned>(flags);
      how.mode = mode;
      how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
      const int fd = Retry([&] {
        return static_cast<int>(::syscall(SYS_openat2, dir, name.c_str(), &how, sizeof how));
      });
      if (fd != -ENOSYS && fd != -EAGAIN) {
        return fd;
      }
      // EAGAIN: the kernel could not prove it, because something was renamed at the same time. A
      // single component that is not followed can't leave `dir`, so the plain call is as safe.
      if (fd == -ENOSYS) {
        openat2_works_.store(false, std::memory_order_relaxed);
      }
    }
    return Retry([&] { return ::openat(dir, name.c_str(), flags, mode); });
  }

  std::atomic<bool> openat2_works_{true};
  std::atomic<bool> noatime_works_{true};
};

}  // namespace

ssize_t Os::ReadAll(int fd, std::span<std::byte> out, uint64_t offset) {
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t got = PRead(fd, out.subspan(done), offset + done);
    if (got < 0) {
      return got;
    }
    if (got == 0) {
      break;
    }
    done += static_cast<size_t>(got);
  }
  return static_cast<ssize_t>(done);
}

int Os::WriteAll(int fd, std::span<const std::byte> bytes, uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t put = PWrite(fd, bytes, offset);
    if (put < 0) {
      return static_cast<int>(put);
    }
    bytes = bytes.subspan(static_cast<size_t>(put));
    offset += static_cast<uint64_t>(put);
  }
  return 0;
}

Os& Os::Real() {
  static RealOs os;
  return os;
}

}  // namespace xzfs
