// A range is in use, or resident (freed a moment ago, its pages are there), or dropped (its pages
// went back to the system; the addresses are kept). Ranges of one kind that touch are joined. A
// mapping is made when nothing fits, and is kept to the end: then it only costs address space.
#include "base/page_pool.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <new>

namespace xzfs {
namespace {

// There is room for many buffers, so that two neighbours that are freed make a larger one.
constexpr size_t kLeastMapping = size_t{64} << 20;

}  // namespace

PagePool::~PagePool() {
  for (const auto& [pages, bytes] : mappings_) {
    UnmapPages(pages, bytes);
  }
}

std::byte* PagePool::Allocate(size_t bytes) {
  if (bytes > std::numeric_limits<size_t>::max() / 2) {
    throw std::bad_alloc();
  }
  bytes = RoundUp(std::max<size_t>(bytes, 1), kPageBytes);
  MutexLock lock(mutex_);
  if (std::byte* const found = resident_.Take(bytes)) {
    kept_bytes_ -= bytes;
    return found;
  }
  if (std::byte* const found = dropped_.Take(bytes)) {
    return found;
  }
  const size_t mapping = std::max(RoundUp(bytes, kLargePageBytes), kLeastMapping);
  std::byte* const pages = MapPages(mapping);
  if (pages == nullptr) {
    throw std::bad_alloc();
  }
  mappings_.emplace(pages, mapping);
  dropped_.Add(pages, mapping);
  return dropped_.Take(bytes);
}

void PagePool::Free(std::byte* buffer, size_t bytes) {
  bytes = RoundUp(std::max<size_t>(bytes, 1), kPageBytes);
  {
    MutexLock lock(mutex_);
    if (kept_bytes_ + bytes <= keep_bytes_) {
      resident_.Add(buffer, bytes);
      kept_bytes_ += bytes;
      return;
    }
  }
  DropPages(buffer, bytes);  // a slow call: nobody waits for it
  MutexLock lock(mutex_);
  dropped_.Add(buffer, bytes);
}

std::byte* PagePool::FreeRanges::Take(size_t bytes) {
  const auto fit = by_size_.lower_bound({bytes, nullptr});
  if (fit == by_size_.end()) {
    return nullptr;
  }
  const auto [size, at] = *fit;
  Erase(by_address_.find(at));
  if (size > bytes) {
    Add(at + bytes, size - bytes);
  }
  return at;
}

void PagePool::FreeRanges::Add(std::byte* at, size_t bytes) {
  const auto after = by_address_.lower_bound(at);
  if (after != by_address_.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second == at) {
      at = before->first;
      bytes += before->second;
      Erase(before);
    }
  }
  if (after != by_address_.end() && at + bytes == after->first) {
    bytes += after->second;
    Erase(after);
  }
  by_address_.emplace(at, bytes);
  by_size_.emplace(bytes, at);
}

void PagePool::FreeRanges::Erase(std::map<std::byte*, size_t>::iterator range) {
  by_size_.erase({range->second, range->first});
  by_address_.erase(range);
}

}  // namespace xzfs
