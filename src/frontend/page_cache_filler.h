// Puts decoded bytes into the kernel's page cache before anybody asks for them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "fs/filesystem.h"

struct fuse_session;

namespace xzfs {

// One thread that sends what it is offered. The kernel makes it wait for pages that a read request
// has locked, so it holds no lock of ours meanwhile and no request waits for it: what comes while
// its queue is full is dropped. Thread-safe.
class PageCacheFiller {
 public:
  PageCacheFiller() = default;
  ~PageCacheFiller() { Stop(); }
  PageCacheFiller(const PageCacheFiller&) = delete;
  PageCacheFiller& operator=(const PageCacheFiller&) = delete;

  // `session` outlives the filler or its Stop.
  void Start(fuse_session* session);
  // Drops what waits. Blocks until the thread has ended.
  void Stop();

  void Offer(std::vector<DecodedRange> ranges) EXCLUDES(mutex_);

  // Returns when nothing of the node is being stored. What is stored of it later was still good
  // (DecodedRange) after this was called. Blocks: for as long as the kernel's pages are locked; the
  // caller holds nothing that answering a read needs.
  void Await(NodeId node) EXCLUDES(mutex_);

 private:
  void Run(fuse_session* session) EXCLUDES(mutex_);

  Mutex mutex_;
  CondVar changed_;
  std::deque<DecodedRange> waiting_ GUARDED_BY(mutex_);
  size_t waiting_bytes_ GUARDED_BY(mutex_) = 0;
  NodeId storing_ GUARDED_BY(mutex_) = 0;  // the node that is being stored; 0: none
  bool running_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace xzfs
