// Puts decoded bytes into the kernel's page cache before anybody asks for them.
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

// One thread that sends what it is offered, and has the kernel drop what is to be dropped. The
// kernel makes it wait for pages that a read request has locked, and that read may need a thread.
// So it holds no lock of ours meanwhile, and no request thread ever waits for it: a request that
// must not be answered while something is being stored leaves its answer here. Thread-safe.
class PageCacheFiller {
 public:
  PageCacheFiller() = default;
  ~PageCacheFiller() { Stop(); }
  PageCacheFiller(const PageCacheFiller&) = delete;
  PageCacheFiller& operator=(const PageCacheFiller&) = delete;

  // `session` outlives the filler or its Stop.
  void Start(fuse_session* session) EXCLUDES(mutex_, join_mutex_);
  // Drops what waits. Blocks until the thread has ended: for as long as the kernel's pages are
  // locked, so requests must still be answered.
  void Stop() EXCLUDES(mutex_, join_mutex_);

  void Offer(std::vector<DecodedRange> ranges) EXCLUDES(mutex_);

  // False: nothing of the node is being stored. Else calls `then` when that has ended, on the
  // filler's thread or that of Stop. What is stored of it later was still good (DecodedRange) after
  // this was called.
  bool WhenStored(NodeId node, std::function<void()> then) EXCLUDES(mutex_);
  // The same, but only says so.
  bool IsStoring(NodeId node) EXCLUDES(mutex_);

  // Has the kernel drop what it has of these files, then calls `done`, if it isn't null, on the
  // filler's thread or that of Stop. False: there is no thread that would.
  bool Invalidate(std::vector<PageRange> ranges, std::function<void()> done) EXCLUDES(mutex_);

  // Has the kernel drop what it has of the file from `offset` on. Nobody is told.
  void DropFrom(NodeId node, uint64_t offset) EXCLUDES(mutex_);

  // For tests: called on the filler's thread before each store. Not thread-safe: before Start.
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
  std::unordered_map<NodeId, uint64_t> stale_ GUARDED_BY(mutex_);  // from which offset on
  bool running_ GUARDED_BY(mutex_) = false;
  Mutex join_mutex_;
  std::thread thread_ GUARDED_BY(join_mutex_);
};

}  // namespace xzfs
