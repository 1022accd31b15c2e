// Memory for tests of code that must stay inside of what it was given.
#pragma once

#include <cstddef>
#include <cstdint>

namespace xzfs {

// Memory with pages around it that can't be touched, and marks between it and one of them. Whoever
// reads or writes across the side at the guard ends the program. Keeps its memory. Throws
// std::bad_alloc if there is none.
class GuardedMemory {
 public:
  enum class Guard { kBefore, kBehind };

  GuardedMemory() = default;
  ~GuardedMemory();
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;

  // Makes `size` bytes, all of them `filling`, directly behind or before a guard. What it returned
  // before is gone.
  uint8_t* Make(size_t size, Guard guard, uint8_t filling);
  // Whether nothing was written near the other side of them.
  bool IsUntouchedAround() const;

 private:
  void Reserve(size_t size);

  uint8_t* mapping_ = nullptr;  // a page of guard, what may be used, and a page of guard
  size_t usable_bytes_ = 0;
  uint8_t* marks_ = nullptr;
};

}  // namespace xzfs
