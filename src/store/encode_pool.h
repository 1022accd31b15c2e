// The threads that compress.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/idle_priority.h"
#include "base/mutex.h"
#include "base/worker_pool.h"
#include "xz/block_encoder.h"
#include "xz/decoder_arena.h"

namespace xzfs {

// Threads that encode. Also keeps workspaces, so that they can be used again. Thread-safe.
class EncodePool {
 public:
  // What one thread needs for one Block.
  struct Workspace {
    explicit Workspace(const EncodeOptions& options) : encoder(options) {}
    BlockEncoder encoder;
    std::vector<std::byte> plain;
    std::unique_ptr<DecoderArena> arena;
  };

  enum class Priority {
    kIdle,  // for work that no program waits for
    kNormal,
  };

  // `block_bytes`: the size of the Blocks that it makes.
  EncodePool(unsigned threads, uint64_t block_bytes, Priority priority = Priority::kIdle);

  void Start();
  // Returns false if all threads have enough to do; then the caller runs the task.
  bool TrySubmit(std::function<void()> task) { return pool_.TrySubmit(std::move(task)); }

  // Lowers the priority of the calling thread while the result lives, if the pool's priority is
  // kIdle. The thread holds no lock during that time.
  std::optional<IdlePriority> Lower() const {
    return priority_ == Priority::kIdle ? std::optional<IdlePriority>(std::in_place) : std::nullopt;
  }

  // Take gives a workspace for Blocks with the options' Check and preset. Give returns it.
  std::unique_ptr<Workspace> Take(const EncodeOptions& options) EXCLUDES(mutex_);
  void Give(std::unique_ptr<Workspace> workspace, const EncodeOptions& options) EXCLUDES(mutex_);

  unsigned threads() const { return threads_.load(std::memory_order_relaxed); }
  void SetThreads(unsigned count);
  uint64_t block_bytes() const { return block_bytes_; }

 private:
  struct Idle {
    EncodeOptions options;
    std::unique_ptr<Workspace> workspace;
  };

  std::atomic<unsigned> threads_;
  const uint64_t block_bytes_;
  const Priority priority_;
  Mutex mutex_;
  std::vector<Idle> idle_ GUARDED_BY(mutex_);
  // Declared last: its tasks use the members above.
  WorkerPool pool_;
};

}  // namespace xzfs
