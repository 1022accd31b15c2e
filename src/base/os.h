// The seam to the operating system: every call that reaches the source goes through an Os, so that
// a test can count calls, fail them or replace them.
#pragma once

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace xzfs {

// Calls return what the system call returns, or -errno. Thread-safe. EINTR is retried here.
class Os {
 public:
  virtual ~Os() = default;

  // The real one. Lives for ever.
  static Os& Real();

  // Opens `name`, one path component, in `dir`. Never follows a symlink and never leaves `dir`
  // (openat2 with RESOLVE_BENEATH where the kernel has it, and a single component that is not ".."
  // with O_NOFOLLOW in any case). O_CLOEXEC and O_NOCTTY are added, and O_NOATIME where the kernel
  // lets us: looking at a file must not make it look used.
  virtual int OpenBeneath(int dir, const std::string& name, int flags) = 0;
  virtual void Close(int fd) = 0;
  virtual int FStat(int fd, struct stat* out) = 0;
  // Of the name itself, never of what a symlink points to.
  virtual int StatAt(int dir, const std::string& name, struct stat* out) = 0;
  virtual ssize_t PRead(int fd, std::span<std::byte> out, uint64_t offset) = 0;
  virtual ssize_t ReadLinkAt(int dir, const std::string& name, std::span<char> out) = 0;
  virtual int64_t Seek(int fd, int64_t offset) = 0;
  // Fills `out` with linux_dirent64 records.
  virtual ssize_t GetDents(int fd, std::span<std::byte> out) = 0;
  // Of `name` in `dir` itself, also of a symlink or a device, without opening it. An empty `out`
  // asks for the size.
  virtual ssize_t GetXattrAt(int dir, const std::string& name, const std::string& key,
                             std::span<char> out) = 0;
  virtual ssize_t ListXattrAt(int dir, const std::string& name, std::span<char> out) = 0;
  virtual int StatVfs(int fd, struct statvfs* out) = 0;
};

// Owns a descriptor that came from an Os. Movable.
class Descriptor {
 public:
  Descriptor() = default;
  Descriptor(Os& os, int fd) : os_(&os), fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept
      : os_(std::exchange(other.os_, nullptr)), fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      Close();
      os_ = std::exchange(other.os_, nullptr);
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~Descriptor() { Close(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }

 private:
  void Close() {
    if (os_ != nullptr && fd_ >= 0) {
      os_->Close(fd_);
    }
  }

  Os* os_ = nullptr;
  int fd_ = -1;
};

}  // namespace xzfs
