#include "store/encode_pool.h"

#include <utility>

namespace xzfs {
namespace {

bool SameOptions(const EncodeOptions& a, const EncodeOptions& b) {
  return a.preset == b.preset && a.extreme == b.extreme && a.check == b.check;
}

}  // namespace

EncodePool::EncodePool(unsigned threads, uint64_t block_bytes, Priority priority)
    : threads_(threads), block_bytes_(block_bytes), priority_(priority), pool_(threads, threads) {}

void EncodePool::Start() { pool_.Start(); }

void EncodePool::SetThreads(unsigned count) {
  threads_.store(count, std::memory_order_relaxed);
  pool_.SetThreads(count);
}

std::unique_ptr<EncodePool::Workspace> EncodePool::Take(const EncodeOptions& options) {
  {
    MutexLock lock(mutex_);
    for (Idle& idle : idle_) {
      if (SameOptions(idle.options, options)) {
        std::unique_ptr<Workspace> taken = std::move(idle.workspace);
        idle = std::move(idle_.back());
        idle_.pop_back();
        return taken;
      }
    }
  }
  return std::make_unique<Workspace>(options);
}

void EncodePool::Give(std::unique_ptr<Workspace> workspace, const EncodeOptions& options) {
  std::unique_ptr<Workspace> dropped;  // freed after the lock is released
  MutexLock lock(mutex_);
  if (idle_.size() >= threads()) {
    dropped = std::move(idle_.front().workspace);
    idle_.erase(idle_.begin());
  }
  idle_.push_back({options, std::move(workspace)});
}

}  // namespace xzfs
