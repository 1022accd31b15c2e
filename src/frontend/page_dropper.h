// Makes the kernel drop pages that are not what is stored.
#pragma once

#include <cstdint>
#include <map>
#include <thread>

#include "base/mutex.h"
#include "fs/node.h"

struct fuse_session;

namespace xzfs {

// One thread that tells the kernel. The kernel makes it wait for pages that a request has locked,
// so it holds no lock of ours meanwhile and no request waits for it. Thread-safe.
class PageDropper {
 public:
  PageDropper() = default;
  ~PageDropper() { Stop(); }
  PageDropper(const PageDropper&) = delete;
  PageDropper& operator=(const PageDropper&) = delete;

  // `session` outlives the dropper or its Stop.
  void Start(fuse_session* session);
  // Forgets what waits. Blocks until the thread has ended.
  void Stop();

  // What the kernel has of the node from `offset` on goes soon, and its attributes are asked for
  // again. Returns at once. Nothing is done unless it was started.
  void Drop(NodeId node, uint64_t offset) EXCLUDES(mutex_);

 private:
  void Run(fuse_session* session) EXCLUDES(mutex_);

  Mutex mutex_;
  CondVar changed_;
  std::map<NodeId, uint64_t> waiting_ GUARDED_BY(mutex_);  // from which offset on
  bool running_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace xzfs
