// Decoding on from a state that no decoder made, as a damaged restart point would be.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "support/guarded_memory.h"
#include "xz/lzma2_decoder.h"

namespace xzfs {

// Not thread-safe. Keeps its memory for the next state.
class Lzma2ForeignState {
 public:
  enum class Outcome { kRefused, kHarmless, kHarmful };

  // Makes a state and input as `choices` say. If IsValid accepts it, decodes from there with every
  // code that runs here. A decoder that reads or writes what isn't its own ends the program, or
  // gives kHarmful.
  Outcome Try(std::span<const uint8_t> choices);

 private:
  // Of the output, in bytes.
  struct Room {
    size_t older;  // what was decoded before, in other memory
    size_t newer;  // what was decoded before
    size_t free;
    size_t wanted;  // of that
  };
  struct How {
    Lzma2Code code;
    GuardedMemory::Guard guard;
  };

  bool IsHarmless(const Lzma2State& state, std::span<const uint8_t> data, const Room& room,
                  const How& how);

  GuardedMemory input_;
  GuardedMemory output_;
  GuardedMemory older_;
};

}  // namespace xzfs
