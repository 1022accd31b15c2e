// The kernel's page cache, as the mount uses it.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "fs/answers.h"

namespace xzfs {

// What the frontend has the kernel do. As long as nobody is set nothing happens. Thread-safe, apart
// from Set.
class KernelCache {
 public:
  struct Calls {
    // Bytes that were decoded before anybody asked for them. Returns at once.
    std::function<void(std::vector<DecodedRange>)> offer = nullptr;
    // Has the kernel drop what it has of files, on another thread, and calls `done`, which may be
    // null. Returns at once: false if it can't.
    std::function<bool(std::vector<PageRange> ranges, std::function<void()> done)> drop = nullptr;
    // The pages that the kernel has of a file from `offset` on are not what is stored. Called after
    // the reply by which it got them. Returns at once.
    std::function<void(NodeId, uint64_t offset)> drop_stale = nullptr;
  };

  // Not thread-safe: no file is open.
  void Set(Calls calls) { calls_ = std::move(calls); }

  // Whether decoding ahead is of use.
  bool takes_offers() const { return calls_.offer != nullptr; }
  void Offer(std::vector<DecodedRange> ranges) const {
    if (calls_.offer) {
      calls_.offer(std::move(ranges));
    }
  }
  // False: nothing is dropped, and `done` is not called.
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
