// The seam to the operating system: every call that reaches the source goes through an Os, so that
// a test can count calls, fail them or replace them.
#pragma once

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <time.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace xzfs {

// What statx(2) says about a file, with its attributes.
struct FileFacts {
  struct stat attributes = {};
  // When the inode was made, in ns since the epoch; 0 if the file system doesn't say. It never
  // changes, and if an inode number is used again this one differs.
  int64_t birth_ns = 0;
  // The id of the mount that the file lies in; a rename can't leave it. 0 if the kernel doesn't
  // say.
  uint64_t mount_id = 0;
  // chattr +i, chattr +a.
  bool is_immutable = false;
  bool is_append_only = false;
};

// What a sync makes durable: as fsync(2), or as fdatasync(2).
enum class SyncScope { kAll, kOnlyData };

// Calls return what the system call returns, or -errno. Thread-safe. EINTR is retried here.
class Os {
 public:
  virtual ~Os() = default;

  // The real one. It is never destroyed.
  static Os& Real();

  // Opens `name`, one path component, in `dir`. Never follows a symlink and never leaves `dir`
  // (openat2 with RESOLVE_BENEATH where the kernel has it, and a single component that is not ".."
  // with O_NOFOLLOW in any case). O_CLOEXEC and O_NOCTTY are added, and O_NOATIME where the kernel
  // lets us: looking at a file must not make it look used.
  // `mode` is for O_CREAT.
  virtual int OpenBeneath(int dir, const std::string& name, int flags, mode_t mode = 0) = 0;
  virtual void Close(int fd) = 0;
  virtual int FStat(int fd, struct stat* out) = 0;
  // Stats the name itself, never the target of a symlink.
  virtual int StatAt(int dir, const std::string& name, struct stat* out) = 0;
  // The same, and more. Of `dir` itself if `name` is empty.
  virtual int FactsAt(int dir, const std::string& name, FileFacts* out) = 0;
  // 0 if we may write to `name`, else the error that a program gets that opens it for writing:
  // EROFS, EPERM if it is immutable, EACCES. It doesn't open the file, so a program that watches it
  // gets no event.
  virtual int MayWriteAt(int dir, const std::string& name) = 0;
  // True for FUSE and networks: the same file may come back with another inode number.
  virtual bool IsRemote(int fd) = 0;
  // True if a sync of one file also makes all earlier changes of names durable: known of ext4, XFS
  // and tmpfs. btrfs only does so for that file, and others may do the same.
  virtual bool KeepsOrder(int fd) = 0;
  virtual ssize_t PRead(int fd, std::span<std::byte> out, uint64_t offset) = 0;
  virtual ssize_t ReadLinkAt(int dir, const std::string& name, std::span<char> out) = 0;
  virtual int64_t Seek(int fd, int64_t offset, int whence) = 0;
  // Fills `out` with linux_dirent64 records.
  virtual ssize_t GetDents(int fd, std::span<std::byte> out) = 0;
  // The extended attributes of `name` in `dir` itself, also of a symlink or a device, without
  // opening it. An empty `out` asks for the size.
  virtual ssize_t GetXattrAt(int dir, const std::string& name, const std::string& key,
                             std::span<char> out) = 0;
  virtual ssize_t ListXattrAt(int dir, const std::string& name, std::span<char> out) = 0;
  virtual int StatVfs(int fd, struct statvfs* out) = 0;
  // Asks the kernel to read these bytes into its page cache. A hint: it reports no errors.
  virtual void StartReading(int fd, uint64_t offset, uint64_t length) = 0;

  // The calls from here on change something. Names are single components of `dir`, and symlinks are
  // never followed.
  virtual ssize_t PWrite(int fd, std::span<const std::byte> bytes, uint64_t offset) = 0;
  // Writes as to a descriptor with O_APPEND: at the end that the file has now, whoever else writes
  // to it. Sets `*end` to the end of the bytes that were written. Moves the descriptor's position,
  // so make one call at a time for each descriptor.
  virtual ssize_t Append(int fd, std::span<const std::byte> bytes, uint64_t* end) = 0;
  virtual int Truncate(int fd, uint64_t size) = 0;
  virtual int Allocate(int fd, int mode, uint64_t offset, uint64_t length) = 0;
  // Asks the kernel to begin to write these bytes to the disk, so that a later Sync has less to
  // wait for. A hint: it reports no errors.
  virtual void StartWriting(int fd, uint64_t offset, uint64_t length) = 0;
  // Returns when the file is on the disk.
  virtual int Sync(int fd) = 0;
  // The same, but only for what is needed to read its data.
  virtual int SyncData(int fd) = 0;
  int SyncAs(SyncScope scope, int fd) {
    return scope == SyncScope::kOnlyData ? SyncData(fd) : Sync(fd);
  }
  // Copies in the kernel, sharing the bytes where the file system can. As copy_file_range(2): it
  // may copy less, and fails with EXDEV, EINVAL, EOPNOTSUPP or ENOSYS if it isn't possible.
  virtual ssize_t CopyRange(int from, uint64_t from_offset, int to, uint64_t to_offset,
                            size_t length) = 0;
  virtual int MakeDir(int dir, const std::string& name, mode_t mode) = 0;
  virtual int MakeNode(int dir, const std::string& name, mode_t mode, dev_t device) = 0;
  virtual int MakeSymlink(const std::string& target, int dir, const std::string& name) = 0;
  virtual int Link(int from_dir, const std::string& from, int to_dir, const std::string& to) = 0;
  // `flags` as renameat2(2) takes them.
  virtual int Rename(int from_dir, const std::string& from, int to_dir, const std::string& to,
                     unsigned flags) = 0;
  // `flags`: AT_REMOVEDIR or 0.
  virtual int Unlink(int dir, const std::string& name, int flags) = 0;
  // Fails with EOPNOTSUPP for a symlink.
  virtual int ChangeMode(int dir, const std::string& name, mode_t mode) = 0;
  virtual int ChangeOwner(int dir, const std::string& name, uid_t owner, gid_t group) = 0;
  virtual int SetTimes(int dir, const std::string& name, const struct timespec times[2]) = 0;
  virtual int SetXattrAt(int dir, const std::string& name, const std::string& key,
                         std::span<const char> value, int flags) = 0;
  virtual int RemoveXattrAt(int dir, const std::string& name, const std::string& key) = 0;
  // The same for an open file.
  virtual int FChangeMode(int fd, mode_t mode) = 0;
  virtual int FChangeOwner(int fd, uid_t owner, gid_t group) = 0;
  virtual int FSetTimes(int fd, const struct timespec times[2]) = 0;
  virtual ssize_t FGetXattr(int fd, const std::string& key, std::span<char> out) = 0;
  virtual ssize_t FListXattr(int fd, std::span<char> out) = 0;
  virtual int FSetXattr(int fd, const std::string& key, std::span<const char> value, int flags) = 0;
  virtual int FRemoveXattr(int fd, const std::string& key) = 0;
  // Locks the whole file until its descriptor is closed. Waits while another process has the lock.
  virtual int Lock(int fd) = 0;
  // The same without waiting: EWOULDBLOCK if another process has it.
  virtual int TryLock(int fd) = 0;
  virtual void Unlock(int fd) = 0;
  // Fails with EAGAIN if a process has the file open for writing. Otherwise a process that opens it
  // for writing waits until ReleaseLease. `fd` was opened for reading. Fails with EINVAL or other
  // errors if the file system has no leases, or has them only for this kernel (SharedFilesystem).
  virtual int TakeLease(int fd) = 0;
  // False as soon as a process waits, or has waited, to open it for writing.
  virtual bool HasLease(int fd) = 0;
  virtual void ReleaseLease(int fd) = 0;

  // These make as many calls of PRead and PWrite as it takes. Reads until `out` is full or the file
  // ends. Returns how much that is.
  ssize_t ReadAll(int fd, std::span<std::byte> out, uint64_t offset);
  int WriteAll(int fd, std::span<const std::byte> bytes, uint64_t offset);
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
