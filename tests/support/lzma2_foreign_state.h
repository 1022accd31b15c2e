// Decoding on from a state that no decoder made, as a damaged restart point would be.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "support/guarded_memory.h"

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
  GuardedMemory input_;
  GuardedMemory output_;
};

}  // namespace xzfs
