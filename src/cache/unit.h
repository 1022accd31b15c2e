// Decoded bytes and their name.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/memory_budget.h"
#include "base/page_pool.h"

namespace xzfs {

// What the cache keeps: a whole decoded Block, or one slice of a giant one. The thread that decodes
// it fills it once; it is immutable from the moment it is shared. Its bytes are charged to the
// budget.
class Unit {
 public:
  // Small units are ordinary allocations, the others come from `pool`.
  Unit(std::shared_ptr<PagePool> pool, size_t size, MemoryCharge charge);
  ~Unit();
  Unit(const Unit&) = delete;
  Unit& operator=(const Unit&) = delete;

  std::span<const std::byte> bytes() const { return {bytes_, size_}; }
  std::span<std::byte> mutable_bytes() { return {bytes_, size_}; }

  // Ends the charge. REQUIRES: the caller is the last one to hold the unit, and frees it before it
  // allocates anything in its place.
  void EndCharge() const { charge_ = MemoryCharge(); }

 private:
  const std::shared_ptr<PagePool> pool_;  // null if small_ holds the bytes
  const std::unique_ptr<std::byte[]> small_;
  std::byte* const bytes_;
  const size_t size_;
  mutable MemoryCharge charge_;
};
using UnitPtr = std::shared_ptr<const Unit>;

// (file, offset): units of one file never overlap, so the offset of the first byte names a unit.
struct UnitKey {
  uint64_t file_id = 0;
  uint64_t plain_offset = 0;
  auto operator<=>(const UnitKey&) const = default;
};

// Good in its low bits, too: offsets are mostly multiples of a large power of two.
struct UnitKeyHash {
  size_t operator()(const UnitKey& key) const {
    const uint64_t h = (key.file_id * 0x9E3779B97F4A7C15U) ^ key.plain_offset;
    const uint64_t mixed = (h ^ (h >> 31)) * 0xBF58476D1CE4E5B9U;
    return static_cast<size_t>(mixed ^ (mixed >> 32));
  }
};

}  // namespace xzfs
