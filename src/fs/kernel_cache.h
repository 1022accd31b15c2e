// The kernel's page cache, as the mount uses it.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "fs/answers.h"

namespace xzfs {

// Has the frontend change the kernel's page cache. Does nothing before Set was called. Thread-safe,
// apart from Set.
class KernelCache {
 public:
  struct Calls {
    // Takes bytes that were decoded ahead. Returns at once.
    std::function<void(std::vector<DecodedRange>)> offer = nullptr;
    // Has the kernel drop these pages, on another thread, and then calls `done`, which may be null.
    // Returns at once; false if it can't.
    std::function<bool(std::vector<PageRange> ranges, std::function<void()> done)> drop = nullptr;
    // The kernel's pages of a file from `offset` on differ from the stored bytes. Called after the
    // reply that gave them to the kernel. Returns at once.
    std::function<void(NodeId, uint64_t offset)> drop_stale = nullptr;
  };

  // Not thread-safe: call it while no file is open.
  void Set(Calls calls) { calls_ = std::move(calls); }

  // Whether to decode ahead.
  bool takes_offers() const { return calls_.offer != nullptr; }
  void Offer(std::vector<DecodedRange> ranges) const {
    if (calls_.offer) {
      calls_.offer(std::move(ranges));
    }
  }
  // Returns false if nothing is dropped; then `done` is not called.
  bool Drop(std::vector<PageRange> ranges, std::function<void()> done) const {
    return calls_.drop && calls_.drop(std::move(ranges), std::move(done));
  }
  void DropStale(NodeId node, uint64_t offset) const {
    if (calls_.drop_stale) {
      calls_.drop_stale(node, offset);
    }
  }

 private:
  Calls calls_;
};

}  // namespace xzfs
