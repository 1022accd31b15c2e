#include "cache/arena_pool.h"

#include <utility>

namespace xzfs {

std::unique_ptr<DecoderArena> ArenaPool::Take() {
  MutexLock lock(mutex_);
  if (kept_.empty()) {
    return nullptr;
  }
  std::unique_ptr<DecoderArena> arena = std::move(kept_.back().arena);
  kept_.pop_back();
  return arena;
}

void ArenaPool::Give(std::unique_ptr<DecoderArena> arena) {
  if (arena == nullptr || arena->capacity() > budget_.total() / 16) {
    return;
  }
  MemoryCharge charge = budget_.Reserve(arena->capacity());
  MutexLock lock(mutex_);
  if (kept_.size() < most_arenas_) {
    kept_.push_back({std::move(arena), std::move(charge)});
  }
}

}  // namespace xzfs
