#include "frontend/page_cache_filler.h"

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fuse_lowlevel.h>

#include <system_error>
#include <utility>

namespace xzfs {
namespace {

// Each pins a unit, mostly of 1 MiB or of a small file. Who decodes faster than the kernel takes
// pages has no use for more.
constexpr size_t kMostWaiting = 64;
constexpr size_t kMostWaitingBytes = size_t{8} << 20;

void Store(fuse_session* session, const DecodedRange& range) {
  struct fuse_bufvec buffer = FUSE_BUFVEC_INIT(range.bytes.size());
  // libfuse only reads from it.
  buffer.buf[0].mem = const_cast<std::byte*>(range.bytes.data());
  // An error means that the kernel has forgotten the file, or has no memory: nobody misses
  // anything.
  const int error =
      fuse_lowlevel_notify_store(session, range.node, static_cast<off_t>(range.offset), &buffer,
                                 static_cast<fuse_buf_copy_flags>(0));
  if (error == 0 && range.on_stored) {
    range.on_stored();
  }
}

}  // namespace

void PageCacheFiller::Start(fuse_session* session) {
  {
    MutexLock lock(mutex_);
    running_ = true;
  }
  try {
    thread_ = std::thread([this, session] { Run(session); });
  } catch (const std::system_error&) {
    MutexLock lock(mutex_);
    running_ = false;  // the system gives no more threads: the kernel asks for each page then
  }
}

void PageCacheFiller::Run(fuse_session* session) {
  for (;;) {
    DecodedRange range;
    {
      MutexLock lock(mutex_);
      while (running_ && waiting_.empty()) {
        changed_.Wait(mutex_);
      }
      if (!running_) {
        return;
      }
      range = std::move(waiting_.front());
      waiting_.pop_front();
      waiting_bytes_ -= range.bytes.size();
      storing_ = range.node;
    }
    // After storing_ was set: whoever is about to change the file and doesn't see it there has said
    // so already.
    if (range.still_good()) {
      Store(session, range);
    }
    MutexLock lock(mutex_);
    storing_ = 0;
    changed_.NotifyAll();
  }
}

void PageCacheFiller::Stop() {
  {
    MutexLock lock(mutex_);
    running_ = false;
    waiting_.clear();
    waiting_bytes_ = 0;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) {
    thread_.join();
  }
}

void PageCacheFiller::Offer(std::vector<DecodedRange> ranges) {
  MutexLock lock(mutex_);
  for (DecodedRange& range : ranges) {
    if (running_ && waiting_.size() < kMostWaiting &&
        (waiting_.empty() || waiting_bytes_ + range.bytes.size() <= kMostWaitingBytes)) {
      waiting_bytes_ += range.bytes.size();
      waiting_.push_back(std::move(range));
    }
  }
  if (!waiting_.empty()) {
    changed_.NotifyAll();
  }
}

void PageCacheFiller::Await(NodeId node) {
  MutexLock lock(mutex_);
  while (storing_ == node) {
    changed_.Wait(mutex_);
  }
}

}  // namespace xzfs
