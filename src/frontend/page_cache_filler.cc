// One thread takes work from three queues: stale pages first, then invalidations, then bytes to
// store. It releases the lock before each call of the kernel or of a function that it was given.
//
// A store must not bring old bytes back after a change. Two threads meet here, and each notes
// something before it looks. The filler notes the node in `storing_`, and then asks `still_good`.
// The thread that changes the file notes that it may differ, and then asks whether the filler is
// storing it. So at least one of them sees the other: the filler skips the store, or the request is
// answered only when the store has ended (WhenStored).
//
// An offer is a hint: if the queue is full the filler drops it. A caller may wait for an
// invalidation, so its function is always called, at the latest by Stop.
#include "frontend/page_cache_filler.h"

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fuse_lowlevel.h>

#include <algorithm>
#include <system_error>
#include <utility>

namespace xzfs {
namespace {

// Each range pins a unit, mostly of 1 MiB or of a small file. More are of no use if decoding is
// faster than the kernel takes pages.
constexpr size_t kMostWaiting = 64;
constexpr size_t kMostWaitingBytes = size_t{8} << 20;

void Store(fuse_session* session, const DecodedRange& range) {
  struct fuse_bufvec buffer = FUSE_BUFVEC_INIT(range.bytes.size());
  // libfuse only reads from it.
  buffer.buf[0].mem = const_cast<std::byte*>(range.bytes.data());
  // An error means that the kernel has forgotten the file, or has no memory: that does no harm.
  const int error =
      fuse_lowlevel_notify_store(session, range.node, static_cast<off_t>(range.offset), &buffer,
                                 static_cast<fuse_buf_copy_flags>(0));
  if (error == 0 && range.on_handed_over) {
    range.on_handed_over();
  }
}

}  // namespace

void PageCacheFiller::Start(fuse_session* session) {
  {
    MutexLock lock(mutex_);
    running_ = true;
  }
  MutexLock joining(join_mutex_);
  try {
    thread_ = std::thread([this, session] { Run(session); });
  } catch (const std::system_error&) {
    MutexLock lock(mutex_);
    running_ = false;  // there can't be more threads: the kernel asks for each page then
  }
}

void PageCacheFiller::Run(fuse_session* session) {
  MutexLock lock(mutex_);
  while (running_) {
    if (!stale_.empty()) {
      DropStale(session);
    } else if (!invalidations_.empty()) {
      InvalidateNext(session);
    } else if (!waiting_.empty()) {
      StoreNext(session);
    } else {
      changed_.Wait(mutex_);
    }
  }
}

void PageCacheFiller::DropStale(fuse_session* session) {
  const auto stale = std::exchange(stale_, {});
  mutex_.Unlock();
  for (const auto& [node, offset] : stale) {
    // An error means that the kernel has forgotten the file.
    fuse_lowlevel_notify_inval_inode(session, node, static_cast<off_t>(offset), /*len=*/0);
  }
  mutex_.Lock();
}

void PageCacheFiller::InvalidateNext(fuse_session* session) {
  const Invalidation next = std::move(invalidations_.front());
  invalidations_.pop_front();
  mutex_.Unlock();
  for (const PageRange& range : next.ranges) {
    // An error means that the kernel has no pages of it.
    fuse_lowlevel_notify_inval_inode(session, range.node, static_cast<off_t>(range.offset),
                                     static_cast<off_t>(range.length));
  }
  if (next.done) {
    next.done();
  }
  mutex_.Lock();
}

void PageCacheFiller::StoreNext(fuse_session* session) {
  DecodedRange range = std::move(waiting_.front());
  waiting_.pop_front();
  waiting_bytes_ -= range.bytes.size();
  storing_ = range.node;
  mutex_.Unlock();
  // After storing_ was set, as said at the top.
  if (range.still_good()) {
    if (store_hook_) {
      store_hook_(range.node);
    }
    Store(session, range);
  }
  range = {};
  mutex_.Lock();
  storing_ = 0;
  const auto ended = std::exchange(when_stored_, {});
  mutex_.Unlock();
  for (const auto& then : ended) {
    then();
  }
  mutex_.Lock();
}

// Calls the waiting functions without an invalidation: nothing is cached any more.
void PageCacheFiller::Stop() {
  std::deque<Invalidation> dropped;
  {
    MutexLock lock(mutex_);
    running_ = false;
    waiting_.clear();
    waiting_bytes_ = 0;
    dropped.swap(invalidations_);
    changed_.NotifyAll();
  }
  for (const Invalidation& one : dropped) {
    if (one.done) {
      one.done();
    }
  }
  MutexLock joining(join_mutex_);
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

bool PageCacheFiller::WhenStored(NodeId node, std::function<void()> then) {
  MutexLock lock(mutex_);
  if (storing_ != node) {
    return false;
  }
  when_stored_.push_back(std::move(then));
  return true;
}

bool PageCacheFiller::IsStoring(NodeId node) {
  MutexLock lock(mutex_);
  return storing_ == node;
}

void PageCacheFiller::DropFrom(NodeId node, uint64_t offset) {
  MutexLock lock(mutex_);
  if (running_) {
    const auto [at, is_new] = stale_.emplace(node, offset);
    at->second = std::min(at->second, offset);
    changed_.NotifyAll();
  }
}

bool PageCacheFiller::Invalidate(std::vector<PageRange> ranges, std::function<void()> done) {
  MutexLock lock(mutex_);
  if (!running_) {
    return false;
  }
  invalidations_.push_back({std::move(ranges), std::move(done)});
  changed_.NotifyAll();
  return true;
}

}  // namespace xzfs
