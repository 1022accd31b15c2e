// An Os that forwards everything, counts it, and lets a test step in.
#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <utility>

#include "support/forwarding_os.h"

namespace xzfs {

// Thread-safe.
class CountingOs : public ForwardingOs {
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

  int OpenBeneath(int dir, const std::string& name, int flags, mode_t mode) override {
    RunHook(name);
    return ForwardingOs::OpenBeneath(dir, name, flags, mode);
  }
  void Close(int fd) override {
    Count(&Counts::closes);
    ForwardingOs::Close(fd);
  }
  int FStat(int fd, struct stat* out) override {
    const int result = ForwardingOs::FStat(fd, out);
    out->st_ctim.tv_sec -= age_seconds_;
    return result;
  }
  int StatAt(int dir, const std::string& name, struct stat* out) override {
    RunHook(name);
    const int result = ForwardingOs::StatAt(dir, name, out);
    out->st_ctim.tv_sec -= age_seconds_;
    Count(result < 0 ? &Counts::stats_missing : &Counts::stats_found);
    return result;
  }

 protected:
  int Before(std::string_view call, const std::string&) override {
    if (call == "OpenBeneath") {
      Count(&Counts::opens);
    } else if (call == "FStat") {
      Count(&Counts::fstats);
    } else if (call == "PRead") {
      Count(&Counts::preads);
    } else if (call != "StatAt") {
      Count(&Counts::others);
    }
    return 0;
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

  std::mutex mutex_;
  Counts counts_;
  std::function<void(const std::string&)> hook_;
};

}  // namespace xzfs
