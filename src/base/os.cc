#include "base/os.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

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

class RealOs : public Os {
 public:
  int OpenBeneath(int dir, const std::string& name, int flags) override {
    if (!IsOneComponent(name)) {
      return -EINVAL;
    }
    flags |= O_CLOEXEC | O_NOCTTY | O_NOFOLLOW;
    const bool noatime = (flags & O_PATH) == 0 && noatime_works_.load(std::memory_order_relaxed);
    int fd = Open(dir, name, noatime ? flags | O_NOATIME : flags);
    if (fd == -EPERM && noatime) {
      // Only the owner of a file (or root) may ask for it. Without that right on one file we lack
      // it on most: ask no more.
      fd = Open(dir, name, flags);
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

  ssize_t PRead(int fd, std::span<std::byte> out, uint64_t offset) override {
    return Retry([&] { return ::pread(fd, out.data(), out.size(), static_cast<off_t>(offset)); });
  }

  ssize_t ReadLinkAt(int dir, const std::string& name, std::span<char> out) override {
    return Retry([&] { return ::readlinkat(dir, name.c_str(), out.data(), out.size()); });
  }

  int64_t Seek(int fd, int64_t offset) override {
    return Retry([&] { return int64_t{::lseek(fd, offset, SEEK_SET)}; });
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

 private:
  int Open(int dir, const std::string& name, int flags) {
    if (openat2_works_.load(std::memory_order_relaxed)) {
      struct open_how how = {};
      how.flags = static_cast<unsigned>(flags);
      how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
      const int fd = Retry([&] {
        return static_cast<int>(::syscall(SYS_openat2, dir, name.c_str(), &how, sizeof how));
      });
      if (fd != -ENOSYS && fd != -EAGAIN) {
        return fd;
      }
      // EAGAIN: the kernel could not prove it because something was renamed meanwhile. A single
      // component that is not followed can't leave `dir`, so the plain call is as safe.
      if (fd == -ENOSYS) {
        openat2_works_.store(false, std::memory_order_relaxed);
      }
    }
    return Retry([&] { return ::openat(dir, name.c_str(), flags); });
  }

  std::atomic<bool> openat2_works_{true};
  std::atomic<bool> noatime_works_{true};
};

}  // namespace

Os& Os::Real() {
  static RealOs os;
  return os;
}

}  // namespace xzfs
