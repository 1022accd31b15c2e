// One way to decode LZMA2 data with our decoder: a part of lzma2_compare.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "support/guarded_memory.h"
#include "xz/lzma2_decoder.h"

namespace xzfs {

// All codes that run here.
std::span<const Lzma2Code> Lzma2Codes();

struct Lzma2Manner {
  enum How {
    kAtOnce,
    kInSteps,   // with input in pieces, and decoders that take one another's state
    kInWindow,  // the same, and of the output there is only what a match may refer to, in two
                // pieces
    kInRing,    // the same, and the output goes round in the least memory that suffices
  };

  std::string words() const;

  Lzma2Code code;
  How how;
  GuardedMemory::Guard guard;  // of the input and of the output
};

class Lzma2Run {
 public:
  struct Memory {
    GuardedMemory& input;
    GuardedMemory& output;
    GuardedMemory& older;  // output
  };

  // `room` is how much the data may give. `seed` chooses the steps.
  Lzma2Run(const Lzma2Manner& manner, Memory memory, std::span<const uint8_t> data,
           uint32_t dictionary_bytes, size_t room, uint32_t seed);

  void Decode();

  // What the decoder did that it must not do, in words.
  const std::string& problem() const { return problem_; }
  // Whether it came to the end marker.
  bool is_valid() const { return is_valid_; }
  size_t used() const { return used_; }
  // What it said to be decoded.
  const std::vector<uint8_t>& plain() const { return plain_; }

 private:
  using Stop = Lzma2Decoder::Stop;

  struct Step {
    Lzma2Output out;
    const uint8_t* wanted;
  };

  void DecodeInSteps();
  Stop Run(const Step& step);
  Step NextStep();
  Step NextWindow();
  Step NextRoundOfRing();
  const uint8_t* ChooseWanted(const Lzma2Output& out, bool is_last);
  std::span<const uint8_t> PlaceInput();
  bool GiveMore();
  void PassStateOn();
  void Check(Stop stop, const Step& step, const Lzma2Output& out, size_t input_left);
  bool IsAsBefore(const Lzma2Output& out) const;
  size_t ChooseBytes(size_t total, size_t most_steps);

  const Lzma2Manner manner_;
  const Memory memory_;
  const std::span<const uint8_t> data_;
  const uint32_t dictionary_bytes_;
  const size_t room_;
  std::mt19937 random_;
  Lzma2Decoder decoder_;
  std::span<uint8_t> memory_of_out_;
  Lzma2Output out_ = {};  // of all, unless there is a window
  size_t given_ = 0;      // bytes of the data that the decoder may have seen
  std::string problem_;
  bool is_valid_ = false;
  size_t used_ = 0;
  std::vector<uint8_t> plain_;
};

}  // namespace xzfs
