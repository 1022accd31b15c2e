#include "base/page_memory.h"

#include <sys/mman.h>

#include <cassert>
#include <cstdint>

namespace xzfs {

std::byte* MapPages(size_t bytes) {
  assert(bytes % kPageBytes == 0);
  if (bytes > SIZE_MAX - kLargePageBytes) {
    return nullptr;
  }
  const size_t mapped = bytes + kLargePageBytes;
  void* const found = mmap(nullptr, mapped, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (found == MAP_FAILED) {
    return nullptr;
  }
  // The part that begins on a large page is kept. The rest is given back.
  auto* const begin = static_cast<std::byte*>(found);
  const size_t before = RoundUp(reinterpret_cast<uintptr_t>(begin), kLargePageBytes) -
                        reinterpret_cast<uintptr_t>(begin);
  std::byte* const pages = begin + before;
  if (before != 0) {
    munmap(begin, before);
  }
  munmap(pages + bytes, kLargePageBytes - before);
  // This fails if there are no large pages: then all are single pages.
  madvise(pages, bytes / kLargePageBytes * kLargePageBytes, MADV_HUGEPAGE);
  return pages;
}

void UnmapPages(std::byte* pages, size_t bytes) { munmap(pages, bytes); }

void DropPages(std::byte* at, size_t bytes) { madvise(at, bytes, MADV_DONTNEED); }

}  // namespace xzfs
