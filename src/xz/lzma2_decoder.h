// Our own LZMA2 decoder: made for output that lies in one piece.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "xz/lzma2_state.h"

namespace xzfs {

// Which code decodes the symbols. All give the same bytes and the same verdict.
enum class Lzma2Code {
  kPortable,  // C++
  kX86,       // with inline assembly for x86-64
};

// The fastest that this processor runs. The first call asks the processor.
Lzma2Code BestLzma2Code();
// Whether this build has it and this processor runs it.
bool CanRun(Lzma2Code code);

// The size of the dictionary that a header means: liblzma rounds it like this, so both accept the
// same distances. No distance is larger than the result: the largest one would be an end marker,
// which LZMA2 does not have.
inline uint64_t RoundUpDictionary(uint64_t size) {
  constexpr uint64_t kLeast = 4096;
  constexpr uint64_t kUnit = 16;
  constexpr uint64_t kMost = UINT32_MAX;
  return size < kLeast ? kLeast : std::min(kMost, (size + kUnit - 1) / kUnit * kUnit);
}

// The output of a decoder, which is its dictionary at the same time.
struct Lzma2Output {
  uint8_t* begin;  // what is decoded lies from here
  uint8_t* next;   // to here; the next byte goes here
  uint8_t* end;    // of the memory; bytes from `next` to here may be overwritten at any time
  // What was decoded before that, up to the byte before `begin`. In a ring it lies behind `next`,
  // and its first bytes are overwritten: then they are farther back than the dictionary is large.
  std::span<const uint8_t> older = {};
};

// Turns LZMA2 data into plain bytes. Its state is a plain struct, so it can be copied and put back:
// see Lzma2State. Not thread-safe; may move between threads. It allocates nothing.
//
// The input may come in pieces. Of what was decoded before, as much as a match may refer to must
// lie before `next`, in one or two pieces: all bytes since the last reset of the dictionary, or as
// many as the dictionary is large if that is less.
class Lzma2Decoder {
 public:
  // As many bytes behind the input must be readable memory. What they hold does not matter.
  static constexpr size_t kInputSlack = 32;
  // An input that is at least as long, or that has the end of the data, always lets a call make
  // progress: a whole chunk fits in.
  static constexpr size_t kChunkBytes = (size_t{1} << 16) + 6;
  // How far behind the wanted end a call may stop: a symbol is never cut in two.
  static constexpr size_t kLongestSymbol = 273;
  // How many bytes a ring must be larger than the dictionary, so that nothing that a match may
  // refer to is overwritten.
  static constexpr size_t kRingSlack = 2 * kLongestSymbol + 32;

  enum class Stop {
    kWanted,  // at the wanted end or up to kLongestSymbol - 1 bytes behind it
    kInput,   // the rest of the input isn't a whole chunk
    kEnd,     // the end marker of the data was consumed
    kDamage,  // the data is no LZMA2, refers to what isn't there, or gives more than fits
  };

  explicit Lzma2Decoder(Lzma2Code code = BestLzma2Code()) : code_(code) {}

  // Prepares for the beginning of data whose header says that the dictionary has that size, in
  // bytes. It may be less than the header says if no more bytes than that will be decoded.
  void Start(uint32_t dictionary_size);

  // Decodes until `out.next` is at `wanted` or behind it, and removes from `in` what was consumed.
  // When `wanted` is at out.end it runs until the end marker: data that gives more is damaged.
  // Never writes at or behind out.end. REQUIRES: out.next <= wanted; `wanted` is out.end or at
  // least kLongestSymbol - 1 bytes before it; the last call returned neither kEnd nor kDamage.
  Stop Run(std::span<const uint8_t>& in, Lzma2Output& out, const uint8_t* wanted);

  // Where it stands. Complete: with the input behind it and the output before it another decoder
  // goes on from there, in another process too.
  const Lzma2State& state() const { return state_; }
  // REQUIRES: IsValid(state), if it comes from outside of this process.
  void set_state(const Lzma2State& state) { state_ = state; }

 private:
  Lzma2State state_;
  const Lzma2Code code_;
};

}  // namespace xzfs
