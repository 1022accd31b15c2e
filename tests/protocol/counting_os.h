// An Os that forwards everything, counts it, and lets a test step in.
#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <utility>

#include "base/os.h"

namespace xzfs {

// Thread-safe.
class CountingOs : public Os {
 public:
  struct Counts {
    int opens = 0;
    int closes = 0;
    int fstats = 0;
    int stats_found = 0;
    int stats_missing = 0;
    int preads = 0;
    int others = 0;
    int all() const {
      return opens + closes + fstats + stats_found + stats_missing + preads + others;
    }
  };

  // What was called since the last Take.
  Counts Take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return std::exchange(counts_, {});
  }

  // Called with the name before each OpenBeneath and StatAt, without a lock held.
  void SetHook(std::function<void(const std::string& name)> hook) {
    const std::lock_guard<std::mutex> lock(mutex_);
    hook_ = std::move(hook);
  }

  // Makes every file look as if it had been changed so much earlier. Before anything is called.
  void SetAge(time_t seconds) { age_seconds_ = seconds; }

  int OpenBeneath(int dir, const std::string& name, int flags) override {
    RunHook(name);
    Count(&Counts::opens);
    return real_.OpenBeneath(dir, name, flags);
  }
  void Close(int fd) override {
    Count(&Counts::closes);
    real_.Close(fd);
  }
  int FStat(int fd, struct stat* out) override {
    Count(&Counts::fstats);
    const int result = real_.FStat(fd, out);
    out->st_ctim.tv_sec -= age_seconds_;
    return result;
  }
  int StatAt(int dir, const std::string& name, struct stat* out) override {
    RunHook(name);
    const int result = real_.StatAt(dir, name, out);
    out->st_ctim.tv_sec -= age_seconds_;
    Count(result < 0 ? &Counts::stats_missing : &Counts::stats_found);
    return result;
  }
  ssize_t PRead(int fd, std::span<std::byte> out, uint64_t offset) override {
    Count(&Counts::preads);
    return real_.PRead(fd, out, offset);
  }
  ssize_t ReadLinkAt(int dir, const std::string& name, std::span<char> out) override {
    Count(&Counts::others);
    return real_.ReadLinkAt(dir, name, out);
  }
  int64_t Seek(int fd, int64_t offset) override {
    Count(&Counts::others);
    return real_.Seek(fd, offset);
  }
  ssize_t GetDents(int fd, std::span<std::byte> out) override {
    Count(&Counts::others);
    return real_.GetDents(fd, out);
  }
  ssize_t GetXattrAt(int dir, const std::string& name, const std::string& key,
                     std::span<char> out) override {
    Count(&Counts::others);
    return real_.GetXattrAt(dir, name, key, out);
  }
  ssize_t ListXattrAt(int dir, const std::string& name, std::span<char> out) override {
    Count(&Counts::others);
    return real_.ListXattrAt(dir, name, out);
  }
  int StatVfs(int fd, struct statvfs* out) override {
    Count(&Counts::others);
    return real_.StatVfs(fd, out);
  }

 private:
  time_t age_seconds_ = 0;
  void Count(int Counts::*what) {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++(counts_.*what);
  }
  void RunHook(const std::string& name) {
    std::function<void(const std::string&)> hook;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      hook = hook_;
    }
    if (hook) {
      hook(name);
    }
  }

  Os& real_ = Os::Real();
  std::mutex mutex_;
  Counts counts_;
  std::function<void(const std::string&)> hook_;
};

}  // namespace xzfs
