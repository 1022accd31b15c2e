// Decoding on from a state that no decoder made, as a damaged restart point would be.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "support/guarded_memory.h"
#include "xz/lzma2_decoder.h"

namespace xzfs {

// Not thread-safe. Keeps its memory for the next state.
class Lzma2ForeignState {
 public:
  enum class Outcome {
    kRefused,    // by IsValid
    kHarmless,   // every code that runs here decodes the same from there
    kDifferent,  // they don't
    kHarmful,    // one writes what isn't its own
  };

  // Makes a state and input as `choices` say. A decoder that reads what isn't its own ends the
  // program; one that writes it may.
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

  struct Result {
    bool operator==(const Result&) const = default;
    Lzma2Decoder::Stop stop;
    size_t used;  // of the data
    std::vector<uint8_t> plain;
  };

  // Nothing if the decoder does harm.
  std::optional<Result> Decode(const Lzma2State& state, std::span<const uint8_t> data,
                               const Room& room, const How& how);

  GuardedMemory input_;
  GuardedMemory output_;
  GuardedMemory older_;
};

}  // namespace xzfs
