#include "support/guarded_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <new>

namespace xzfs {

namespace {

// More than what wide copies or loads could overrun.
constexpr size_t kMarks = 512;
constexpr uint8_t kMark = 0xC7;

size_t PageBytes() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

}  // namespace

GuardedMemory::~GuardedMemory() {
  if (mapping_ != nullptr) {
    munmap(mapping_, usable_bytes_ + 2 * PageBytes());
  }
}

void GuardedMemory::Reserve(size_t size) {
  if (size <= usable_bytes_) {
    return;
  }
  const size_t page = PageBytes();
  if (mapping_ != nullptr) {
    munmap(mapping_, usable_bytes_ + 2 * page);
    mapping_ = nullptr;
  }
  usable_bytes_ = (std::max(size, 2 * usable_bytes_) + page - 1) / page * page;
  void* const mapping = mmap(nullptr, usable_bytes_ + 2 * page, PROT_NONE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) {
    usable_bytes_ = 0;
    throw std::bad_alloc();
  }
  mapping_ = static_cast<uint8_t*>(mapping);
  if (mprotect(mapping_ + page, usable_bytes_, PROT_READ | PROT_WRITE) != 0) {
    throw std::bad_alloc();
  }
}

uint8_t* GuardedMemory::Make(size_t size, Guard guard, uint8_t filling) {
  Reserve(size + kMarks);
  uint8_t* const begin = mapping_ + PageBytes();
  uint8_t* const made = guard == Guard::kBefore ? begin : begin + usable_bytes_ - size;
  marks_ = guard == Guard::kBefore ? made + size : made - kMarks;
  std::memset(marks_, kMark, kMarks);
  std::memset(made, filling, size);
  return made;
}

bool GuardedMemory::IsUntouchedAround() const {
  // All are the same as the one before, and the first is right.
  return marks_[0] == kMark && std::memcmp(marks_, marks_ + 1, kMarks - 1) == 0;
}

}  // namespace xzfs
