// The memory of a decoder, in one piece.
#pragma once

#include <cstddef>
#include <span>

namespace xzfs {

// Allocates all memory of one liblzma coder from one mapped region. So the next coder finds the
// region mapped (a fresh page costs more than a copy of its bytes), and the state of a coder is one
// range of bytes. Not thread-safe; may move between threads. Outlives the coder in it.
class DecoderArena {
 public:
  DecoderArena() = default;
  ~DecoderArena();
  DecoderArena(const DecoderArena&) = delete;
  DecoderArena& operator=(const DecoderArena&) = delete;

  // Makes room for a coder that allocates `bytes` in all. Returns false if there is no memory.
  // REQUIRES: no coder is in it.
  bool Prepare(size_t bytes);

  // The functions of a lzma_allocator; `self` is the arena. Allocations beyond what was prepared
  // fail.
  static void* Allocate(void* self, size_t count, size_t size);
  static void Free(void* self, void* pointer);

  // What was allocated, as one range.
  std::span<std::byte> used() { return {base_, used_}; }
  // The largest piece of it: the dictionary, for every decoder that has one.
  std::span<std::byte> largest() { return largest_; }
  // Gives the memory of largest() back to the system. From then on its bytes are zero.
  void DropLargest();

  // What this object holds in memory, in bytes.
  size_t capacity() const { return capacity_; }

 private:
  void Unmap();

  std::byte* base_ = nullptr;
  size_t capacity_ = 0;
  size_t used_ = 0;
  size_t live_ = 0;  // allocations
  std::span<std::byte> largest_;
};

}  // namespace xzfs
