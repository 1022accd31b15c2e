// Puts decoded bytes into the kernel's page cache ahead of reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "fs/mount.h"

struct fuse_session;

namespace xzfs {

// One thread sends the offered bytes to the kernel, and has it drop pages. The kernel makes the
// thread wait for pages that a read request has locked, and that read may need a thread. So it
// holds no lock of ours while it calls the kernel, and no request thread waits for it: a request
// that must not be answered during a store leaves a function here. Thread-safe.
class PageCacheFiller {
 public:
  PageCacheFiller() = default;
  ~PageCacheFiller() { Stop(); }
  PageCacheFiller(const PageCacheFiller&) = delete;
  PageCacheFiller& operator=(const PageCacheFiller&) = delete;

  // `session` outlives the filler or its Stop.
  void Start(fuse_session* session) EXCLUDES(mutex_, join_mutex_);
  // Drops the offers in the queue. Blocks until the thread has ended. That may wait for pages that
  // the kernel has locked, so requests must still be answered.
  void Stop() EXCLUDES(mutex_, join_mutex_);

  void Offer(std::vector<DecodedRange> ranges) EXCLUDES(mutex_);

  // False: nothing of the node is being stored. Else calls `then` when the store has ended, on the
  // filler's thread or that of Stop. For later stores DecodedRange::still_good is checked after
  // this call.
  bool WhenStored(NodeId node, std::function<void()> then) EXCLUDES(mutex_);
  // The same, but without a function to call.
  bool IsStoring(NodeId node) EXCLUDES(mutex_);

  // Has the kernel drop these pages, then calls `done`, if it isn't null, on the filler's thread or
  // that of Stop. False: there is no thread for that.
  bool Invalidate(std::vector<PageRange> ranges, std::function<void()> done) EXCLUDES(mutex_);

  // Has the kernel drop its pages of the file from `offset` on. Reports nothing.
  void DropFrom(NodeId node, uint64_t offset) EXCLUDES(mutex_);

  // For tests: called on the filler's thread before each store. Not thread-safe: call it before
  // Start.
  void SetStoreHook(std::function<void(NodeId)> hook) { store_hook_ = std::move(hook); }

 private:
  struct Invalidation {
    std::vector<PageRange> ranges;
    std::function<void()> done;
  };

  void Run(fuse_session* session) EXCLUDES(mutex_);
  void DropStale(fuse_session* session) REQUIRES(mutex_);
  void InvalidateNext(fuse_session* session) REQUIRES(mutex_);
  void StoreNext(fuse_session* session) REQUIRES(mutex_);

  std::function<void(NodeId)> store_hook_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<DecodedRange> waiting_ GUARDED_BY(mutex_);
  size_t waiting_bytes_ GUARDED_BY(mutex_) = 0;
  NodeId storing_ GUARDED_BY(mutex_) = 0;  // the node that is being stored; 0: none
  std::vector<std::function<void()>> when_stored_ GUARDED_BY(mutex_);
  std::deque<Invalidation> invalidations_ GUARDED_BY(mutex_);
  std::unordered_map<NodeId, uint64_t> stale_
      GUARDED_BY(mutex_);  // pages to drop: from this offset on
  bool running_ GUARDED_BY(mutex_) = false;
  Mutex join_mutex_;
  std::thread thread_ GUARDED_BY(join_mutex_);
};

}  // namespace xzfs
