#include "frontend/page_dropper.h"

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fuse_lowlevel.h>

#include <algorithm>
#include <system_error>

namespace xzfs {

void PageDropper::Start(fuse_session* session) {
  {
    MutexLock lock(mutex_);
    running_ = true;
  }
  try {
    thread_ = std::thread([this, session] { Run(session); });
  } catch (const std::system_error&) {
    MutexLock lock(mutex_);
    running_ = false;  // the system gives no more threads: pages stay until the kernel looks anew
  }
}

void PageDropper::Run(fuse_session* session) {
  for (;;) {
    NodeId node = 0;
    uint64_t offset = 0;
    {
      MutexLock lock(mutex_);
      while (running_ && waiting_.empty()) {
        changed_.Wait(mutex_);
      }
      if (!running_) {
        return;
      }
      const auto first = waiting_.begin();
      node = first->first;
      offset = first->second;
      waiting_.erase(first);
    }
    // An error means that the kernel has forgotten the file.
    fuse_lowlevel_notify_inval_inode(session, node, static_cast<off_t>(offset), /*len=*/0);
  }
}

void PageDropper::Stop() {
  {
    MutexLock lock(mutex_);
    running_ = false;
    waiting_.clear();
    changed_.NotifyAll();
  }
  if (thread_.joinable()) {
    thread_.join();
  }
}

void PageDropper::Drop(NodeId node, uint64_t offset) {
  MutexLock lock(mutex_);
  if (running_) {
    const auto [at, is_new] = waiting_.emplace(node, offset);
    at->second = std::min(at->second, offset);
    changed_.NotifyAll();
  }
}

}  // namespace xzfs
