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

// Threads that encode, and what encoding and verifying a Block takes, to be used again.
// Thread-safe.
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
    kIdle,  // for what nobody waits for
    kNormal,
  };

  // `block_bytes`: how large the Blocks that it makes are.
  EncodePool(unsigned threads, uint64_t block_bytes, Priority priority = Priority::kIdle);

  void Start();
  // Returns false if all threads have enough to do: the caller does it itself.
  bool TrySubmit(std::function<void()> task) { return pool_.TrySubmit(std::move(task)); }

  // For as long as a thread, of the pool or not, computes for it and holds no lock.
  std::optional<IdlePriority> Lower() const {
    return priority_ == Priority::kIdle ? std::optional<IdlePriority>(std::in_place) : std::nullopt;
  }

  // For Blocks with the options' Check and preset.
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
  // Last: its tasks use the above.
  WorkerPool pool_;
};

}  // namespace xzfs
