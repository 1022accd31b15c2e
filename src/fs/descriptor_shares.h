// How many descriptors each part of the process may have open.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "xzfs/result.h"

namespace xzfs {

// The limit of the process is divided once. So users' open files never take the descriptors that
// reading, committing and recovery need.
struct DescriptorShares {
  size_t cached = 0;    // directories and stored files: the DescriptorCaches
  size_t overlays = 0;  // of overlays without writers: two each
  // Of files that are open for writing, or used without a name: one for a plain file, two for a
  // compressed one.
  size_t held = 0;

  // `limit`: RLIMIT_NOFILE. `threads`: how many there are besides the request threads.
  static DescriptorShares Of(uint64_t limit, unsigned threads);
};

// RLIMIT_NOFILE of this process.
uint64_t DescriptorLimit();

// Counts descriptors that can't be closed before their user is done. Thread-safe.
class DescriptorQuota {
 public:
  explicit DescriptorQuota(size_t limit) : limit_(limit) {}

  // A part of the quota, until it's destroyed. Movable. Not thread-safe.
  class Held {
   public:
    Held() = default;
    Held(Held&& other) noexcept
        : quota_(std::exchange(other.quota_, nullptr)), count_(std::exchange(other.count_, 0)) {}
    Held& operator=(Held&& other) noexcept {
      if (this != &other) {
        Release();
        quota_ = std::exchange(other.quota_, nullptr);
        count_ = std::exchange(other.count_, 0);
      }
      return *this;
    }
    ~Held() { Release(); }
    bool empty() const { return count_ == 0; }

   private:
    friend class DescriptorQuota;
    Held(DescriptorQuota& quota, size_t count) : quota_(&quota), count_(count) {}
    void Release() {
      if (quota_ != nullptr) {
        quota_->used_ -= count_;
      }
    }

    DescriptorQuota* quota_ = nullptr;
    size_t count_ = 0;
  };

  // EMFILE if fewer than `count` are left.
  Result<Held> Hold(size_t count);

  size_t used() const { return used_; }
  size_t limit() const { return limit_; }

 private:
  const size_t limit_;
  std::atomic<size_t> used_{0};
};

}  // namespace xzfs
