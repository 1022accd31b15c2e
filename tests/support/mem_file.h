// A stored file in memory, for tests.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "xzfs/random_access_file.h"

namespace xzfs {

// Bytes in memory that remember which reads there were, so a test can assert access patterns. Can
// be told to fail. Thread-safe, except set_content.
class MemFile : public RandomAccessFile {
 public:
  // One ReadAt call. `size` is what was asked for.
  struct Access {
    uint64_t offset = 0;
    uint64_t size = 0;
    uint64_t end() const { return offset + size; }
    bool operator==(const Access&) const = default;
  };

  explicit MemFile(std::string content) : content_(std::move(content)) {}

  Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) const override {
    const std::lock_guard<std::mutex> lock(mutex_);
    accesses_.push_back({offset, out.size()});
    if (failure_ && accesses_.size() > reads_before_failure_) {
      ++failures_;
      return Fail(*failure_, "a failure that the test asked for");
    }
    if (offset >= content_.size()) {
      return size_t{0};
    }
    const size_t count =
        std::min<size_t>(out.size(), content_.size() - static_cast<size_t>(offset));
    std::memcpy(out.data(), content_.data() + offset, count);
    return count;
  }

  uint64_t size() const override { return content_.size(); }

  void WillRead(uint64_t offset, uint64_t length) const override {
    const std::lock_guard<std::mutex> lock(mutex_);
    announced_.push_back({offset, length});
  }

  const std::string& content() const { return content_; }
  // REQUIRES: no other thread uses this object.
  void set_content(std::string content) { content_ = std::move(content); }

  // All accesses since the last Forget, in order.
  std::vector<Access> accesses() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return accesses_;
  }
  // All ranges that were passed to WillRead, in order.
  std::vector<Access> announced() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return announced_;
  }
  void Forget() {
    const std::lock_guard<std::mutex> lock(mutex_);
    accesses_.clear();
  }

  // Forgets the accesses, lets the next `reads` reads succeed and fails all later ones with `code`.
  void FailAfter(size_t reads, int code) {
    const std::lock_guard<std::mutex> lock(mutex_);
    accesses_.clear();
    reads_before_failure_ = reads;
    failure_ = code;
    failures_ = 0;
  }
  void StopFailing() {
    const std::lock_guard<std::mutex> lock(mutex_);
    failure_.reset();
  }
  // Reads that failed since FailAfter.
  size_t failures() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return failures_;
  }

 private:
  std::string content_;
  mutable std::mutex mutex_;
  mutable std::vector<Access> accesses_;
  mutable std::vector<Access> announced_;
  mutable size_t failures_ = 0;
  size_t reads_before_failure_ = 0;
  std::optional<int> failure_;
};

}  // namespace xzfs
