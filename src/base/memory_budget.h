// The one memory budget of a mount.
#pragma once

#include <atomic>
#include <cstddef>
#include <utility>

namespace xzfs {

class MemoryBudget;
class MemoryCharge;

// Something that holds memory of a budget and can give it up: the cache.
class Evictor {
 public:
  // Frees what it holds until `bytes` fit into its budget, or until it can free no more, and
  // charges them. It does both in one step, so that two callers don't get the same room.
  // Thread-safe.
  virtual MemoryCharge EvictAndCharge(size_t bytes) = 0;

 protected:
  ~Evictor() = default;
};

// Counts what is held against a total. Thread-safe.
class MemoryBudget {
 public:
  explicit MemoryBudget(size_t total_bytes) : total_(total_bytes) {}

  // `evictor`: null if nothing can be evicted. REQUIRES: no other thread uses the budget.
  void SetEvictor(Evictor* evictor) { evictor_ = evictor; }

  // Makes room for `bytes` by evicting and charges them. Always succeeds: when nothing more can be
  // evicted the budget is exceeded. REQUIRES: the caller holds no lock of the Evictor.
  MemoryCharge Reserve(size_t bytes);

  size_t total() const { return total_.load(std::memory_order_relaxed); }
  // Evicts what doesn't fit any more. Other holders of memory are not told.
  void SetTotal(size_t bytes);
  size_t used() const { return used_.load(std::memory_order_relaxed); }
  size_t peak() const { return peak_.load(std::memory_order_relaxed); }

 private:
  friend class MemoryCharge;
  void Add(size_t bytes) {
    const size_t now = used_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
    size_t peak = peak_.load(std::memory_order_relaxed);
    while (now > peak && !peak_.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {
    }
  }
  void Subtract(size_t bytes) { used_.fetch_sub(bytes, std::memory_order_relaxed); }

  Evictor* evictor_ = nullptr;
  std::atomic<size_t> total_;
  std::atomic<size_t> used_{0};
  std::atomic<size_t> peak_{0};
};

// Bytes that are charged to a budget while this object lives. Movable. Does not outlive its budget.
class MemoryCharge {
 public:
  MemoryCharge() = default;
  MemoryCharge(MemoryBudget& budget, size_t bytes) : budget_(&budget), bytes_(bytes) {
    budget_->Add(bytes_);
  }
  MemoryCharge(MemoryCharge&& other) noexcept
      : budget_(std::exchange(other.budget_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  MemoryCharge& operator=(MemoryCharge&& other) noexcept {
    if (this != &other) {
      Drop();
      budget_ = std::exchange(other.budget_, nullptr);
      bytes_ = std::exchange(other.bytes_, 0);
    }
    return *this;
  }
  ~MemoryCharge() { Drop(); }

  size_t bytes() const { return bytes_; }

 private:
  void Drop() {
    if (budget_ != nullptr) {
      budget_->Subtract(bytes_);
    }
  }

  MemoryBudget* budget_ = nullptr;
  size_t bytes_ = 0;
};

inline MemoryCharge MemoryBudget::Reserve(size_t bytes) {
  return evictor_ != nullptr ? evictor_->EvictAndCharge(bytes) : MemoryCharge(*this, bytes);
}

inline void MemoryBudget::SetTotal(size_t bytes) {
  total_.store(bytes, std::memory_order_relaxed);
  static_cast<void>(Reserve(0));
}

}  // namespace xzfs
