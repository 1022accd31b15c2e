// An Os that asks a test before each call and then makes it for real.
#pragma once

#include <cstring>
#include <string>
#include <string_view>

#include "base/os.h"

namespace xzfs {

// Thread-safe if Before is.
class ForwardingOs : public Os {
 public:
  int OpenBeneath(int dir, const std::string& name, int flags, mode_t mode) override {
    const int error = Before("OpenBeneath", name);
    return error != 0 ? error : real_.OpenBeneath(dir, name, flags, mode);
  }
  void Close(int fd) override { real_.Close(fd); }
  int FStat(int fd, struct stat* out) override {
    const int error = Before("FStat", std::string());
    return error != 0 ? error : real_.FStat(fd, out);
  }
  int StatAt(int dir, const std::string& name, struct stat* out) override {
    const int error = Before("StatAt", name);
    return error != 0 ? error : real_.StatAt(dir, name, out);
  }
  int FactsAt(int dir, const std::string& name, FileFacts* out) override {
    const int error = Before("FactsAt", name);
    return error != 0 ? error : real_.FactsAt(dir, name, out);
  }
  int MayWriteAt(int dir, const std::string& name) override {
    const int error = Before("MayWriteAt", name);
    return error != 0 ? error : real_.MayWriteAt(dir, name);
  }
  bool IsRemote(int fd) override { return real_.IsRemote(fd); }
  bool KeepsOrder(int fd) override { return real_.KeepsOrder(fd); }
  ssize_t PRead(int fd, std::span<std::byte> out, uint64_t offset) override {
    const int error = Before("PRead", std::string());
    return error != 0 ? error : real_.PRead(fd, out, offset);
  }
  ssize_t ReadLinkAt(int dir, const std::string& name, std::span<char> out) override {
    const int error = Before("ReadLinkAt", name);
    return error != 0 ? error : real_.ReadLinkAt(dir, name, out);
  }
  int64_t Seek(int fd, int64_t offset, int whence) override {
    const int error = Before("Seek", std::string());
    return error != 0 ? error : real_.Seek(fd, offset, whence);
  }
  ssize_t GetDents(int fd, std::span<std::byte> out) override {
    const int error = Before("GetDents", std::string());
    return error != 0 ? error : real_.GetDents(fd, out);
  }
  ssize_t GetXattrAt(int dir, const std::string& name, const std::string& key,
                     std::span<char> out) override {
    const int error = Before("GetXattrAt", name);
    return error != 0 ? error : real_.GetXattrAt(dir, name, key, out);
  }
  ssize_t ListXattrAt(int dir, const std::string& name, std::span<char> out) override {
    const int error = Before("ListXattrAt", name);
    return error != 0 ? error : real_.ListXattrAt(dir, name, out);
  }
  int StatVfs(int fd, struct statvfs* out) override {
    const int error = Before("StatVfs", std::string());
    return error != 0 ? error : real_.StatVfs(fd, out);
  }
  ssize_t PWrite(int fd, std::span<const std::byte> bytes, uint64_t offset) override {
    const int error = Before("PWrite", std::string());
    return error != 0 ? error : real_.PWrite(fd, bytes, offset);
  }
  ssize_t Append(int fd, std::span<const std::byte> bytes, uint64_t* end) override {
    const int error = Before("Append", std::string());
    return error != 0 ? error : real_.Append(fd, bytes, end);
  }
  int Truncate(int fd, uint64_t size) override {
    const int error = Before("Truncate", std::string());
    return error != 0 ? error : real_.Truncate(fd, size);
  }
  int Allocate(int fd, int mode, uint64_t offset, uint64_t length) override {
    const int error = Before("Allocate", std::string());
    return error != 0 ? error : real_.Allocate(fd, mode, offset, length);
  }
  int Sync(int fd) override {
    const int error = Before("Sync", std::string());
    return error != 0 ? error : real_.Sync(fd);
  }
  int SyncData(int fd) override {
    const int error = Before("Sync", std::string());
    return error != 0 ? error : real_.SyncData(fd);
  }
  ssize_t CopyRange(int from, uint64_t from_offset, int to, uint64_t to_offset,
                    size_t length) override {
    const int error = Before("CopyRange", std::string());
    return error != 0 ? error : real_.CopyRange(from, from_offset, to, to_offset, length);
  }
  int MakeDir(int dir, const std::string& name, mode_t mode) override {
    const int error = Before("MakeDir", name);
    return error != 0 ? error : real_.MakeDir(dir, name, mode);
  }
  int MakeNode(int dir, const std::string& name, mode_t mode, dev_t device) override {
    const int error = Before("MakeNode", name);
    return error != 0 ? error : real_.MakeNode(dir, name, mode, device);
  }
  int MakeSymlink(const std::string& target, int dir, const std::string& name) override {
    const int error = Before("MakeSymlink", name);
    return error != 0 ? error : real_.MakeSymlink(target, dir, name);
  }
  int Link(int from_dir, const std::string& from, int to_dir, const std::string& to) override {
    const int error = Before("Link", to);
    return error != 0 ? error : real_.Link(from_dir, from, to_dir, to);
  }
  int Rename(int from_dir, const std::string& from, int to_dir, const std::string& to,
             unsigned flags) override {
    const int error = Before("Rename", to);
    return error != 0 ? error : real_.Rename(from_dir, from, to_dir, to, flags);
  }
  int Unlink(int dir, const std::string& name, int flags) override {
    const int error = Before("Unlink", name);
    return error != 0 ? error : real_.Unlink(dir, name, flags);
  }
  int ChangeMode(int dir, const std::string& name, mode_t mode) override {
    const int error = Before("ChangeMode", name);
    return error != 0 ? error : real_.ChangeMode(dir, name, mode);
  }
  int ChangeOwner(int dir, const std::string& name, uid_t owner, gid_t group) override {
    const int error = Before("ChangeOwner", name);
    return error != 0 ? error : real_.ChangeOwner(dir, name, owner, group);
  }
  int SetTimes(int dir, const std::string& name, const struct timespec times[2]) override {
    const int error = Before("SetTimes", name);
    return error != 0 ? error : real_.SetTimes(dir, name, times);
  }
  int SetXattrAt(int dir, const std::string& name, const std::string& key,
                 std::span<const char> value, int flags) override {
    const int error = Before("SetXattrAt", name);
    return error != 0 ? error : real_.SetXattrAt(dir, name, key, value, flags);
  }
  int RemoveXattrAt(int dir, const std::string& name, const std::string& key) override {
    const int error = Before("RemoveXattrAt", name);
    return error != 0 ? error : real_.RemoveXattrAt(dir, name, key);
  }
  int FChangeMode(int fd, mode_t mode) override {
    const int error = Before("FChangeMode", std::string());
    return error != 0 ? error : real_.FChangeMode(fd, mode);
  }
  int FChangeOwner(int fd, uid_t owner, gid_t group) override {
    const int error = Before("FChangeOwner", std::string());
    return error != 0 ? error : real_.FChangeOwner(fd, owner, group);
  }
  int FSetTimes(int fd, const struct timespec times[2]) override {
    const int error = Before("FSetTimes", std::string());
    return error != 0 ? error : real_.FSetTimes(fd, times);
  }
  ssize_t FGetXattr(int fd, const std::string& key, std::span<char> out) override {
    const int error = Before("FGetXattr", key);
    return error != 0 ? error : real_.FGetXattr(fd, key, out);
  }
  ssize_t FListXattr(int fd, std::span<char> out) override {
    const int error = Before("FListXattr", std::string());
    return error != 0 ? error : real_.FListXattr(fd, out);
  }
  int FSetXattr(int fd, const std::string& key, std::span<const char> value, int flags) override {
    const int error = Before("FSetXattr", key);
    return error != 0 ? error : real_.FSetXattr(fd, key, value, flags);
  }
  int FRemoveXattr(int fd, const std::string& key) override {
    const int error = Before("FRemoveXattr", key);
    return error != 0 ? error : real_.FRemoveXattr(fd, key);
  }
  int Lock(int fd) override {
    const int error = Before("Lock", std::string());
    return error != 0 ? error : real_.Lock(fd);
  }
  int TryLock(int fd) override {
    const int error = Before("Lock", std::string());
    return error != 0 ? error : real_.TryLock(fd);
  }
  int TakeLease(int fd) override {
    const int error = Before("TakeLease", std::string());
    return error != 0 ? error : real_.TakeLease(fd);
  }
  void StartReading(int fd, uint64_t offset, uint64_t length) override {
    real_.StartReading(fd, offset, length);
  }
  void StartWriting(int fd, uint64_t offset, uint64_t length) override {
    real_.StartWriting(fd, offset, length);
  }
  bool HasLease(int fd) override { return real_.HasLease(fd); }
  void Unlock(int fd) override { real_.Unlock(fd); }
  void ReleaseLease(int fd) override { real_.ReleaseLease(fd); }

 protected:
  // `call`: the name of the function in Os. `name`: the file that the call is about, if it has one.
  // Returns 0, or the -errno with which the call fails without being made.
  virtual int Before(std::string_view call, const std::string& name) = 0;

 private:
  Os& real_ = Os::Real();
};

}  // namespace xzfs
