#include "xz/decoder_arena.h"

#include <cassert>
#include <limits>

#include "base/page_memory.h"

namespace xzfs {
namespace {

// The alignment that liblzma's structures and a cache line need.
constexpr size_t kAlignment = 64;
// liblzma says how much it allocates in total. This is for the alignment of each of about a dozen
// allocations.
constexpr size_t kSlackBytes = size_t{4} << 10;

}  // namespace

DecoderArena::~DecoderArena() {
  assert(live_ == 0);
  Unmap();
}

void DecoderArena::Unmap() {
  if (base_ != nullptr) {
    UnmapPages(base_, capacity_);
  }
  base_ = nullptr;
  capacity_ = 0;
}

bool DecoderArena::Prepare(size_t bytes) {
  assert(live_ == 0);
  if (bytes > std::numeric_limits<size_t>::max() / 2) {
    return false;
  }
  const size_t wanted = RoundUp(bytes + kSlackBytes, kPageBytes);
  if (wanted <= capacity_) {
    return true;
  }
  Unmap();
  base_ = MapPages(wanted);
  capacity_ = base_ != nullptr ? wanted : 0;
  return base_ != nullptr;
}

void DecoderArena::DropLargest() {
  const size_t before = static_cast<size_t>(largest_.data() - base_);
  const size_t begin = RoundUp(before, kPageBytes);
  const size_t end = (before + largest_.size()) / kPageBytes * kPageBytes;
  if (begin < end) {
    DropPages(base_ + begin, end - begin);
  }
}

void* DecoderArena::Allocate(void* self, size_t count, size_t size) {
  auto& arena = *static_cast<DecoderArena*>(self);
  const size_t room = arena.capacity_ - arena.used_;
  if (size != 0 && count > room / size) {
    return nullptr;
  }
  const size_t bytes = RoundUp(count * size, kAlignment);
  if (bytes > room) {
    return nullptr;
  }
  std::byte* const found = arena.base_ + arena.used_;
  arena.used_ += bytes;
  ++arena.live_;
  if (bytes > arena.largest_.size()) {
    arena.largest_ = {found, bytes};
  }
  return found;
}

// Memory is only freed all at once: a coder keeps what it has allocated until it ends.
void DecoderArena::Free(void* self, void* pointer) {
  if (pointer == nullptr) {
    return;
  }
  auto& arena = *static_cast<DecoderArena*>(self);
  if (--arena.live_ == 0) {
    arena.used_ = 0;
    arena.largest_ = {};
  }
}

}  // namespace xzfs
