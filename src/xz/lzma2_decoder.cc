// How LZMA2 is decoded.
//
// **The data** is a sequence of chunks: a header with sizes and with what is reset before it, then
// plain bytes or LZMA symbols. A symbol is a literal, or a match: a length and a distance back into
// what was decoded. This file walks over the chunks. lzma2_symbols.h has the loop over the symbols
// of one chunk.
//
// **The model.** Each bit of a symbol is coded with the probability that it is 0, and moves that
// probability a bit towards what it was. There are some thousand of them, chosen by what came
// before: by the last symbols, the position, the byte before. All of them and all else that changes
// is in Lzma2State. Numbers of several bits are paths in a binary tree of probabilities.
//
// **The range coder** (lzma2_bits.h) is what makes bits of probabilities: it keeps a number `code`
// in a range, splits the range in proportion, and the part in which `code` lies is the bit. When
// the range has become small, one more byte is shifted in.
//
// **What costs time** is the chain from one bit to the next, about 8 cycles, and branches that are
// predicted wrong, about 20. So bits of trees are decoded without branches (lzma2_bits_x86.h),
// while decisions (literal or match?) are branches, because they are mostly predicted right. All
// variables of the loop live in registers. The output is the dictionary: nothing is copied out of
// it, and a match is a copy of contiguous bytes.
//
// **What guards memory**, for any input:
//   G1  A chunk begins only when all of an LZMA chunk is in the input (BeginChunk, Run).
//   G2  No symbol begins behind the chunk's input (Lzma2Symbols::Ended), and none takes more than
//       20 bytes: at most 22 bits with a probability and 26 without. The slack behind the input is
//       larger. How many bytes a bit takes depends on `range` and on the probabilities, which are
//       never near 0 or 1, and not on `code`.
//   G3  A match refers to what is there: less far back than the last reset of the dictionary, than
//       its size, and than the output's begin (Lzma2Symbols::Copy). So does the first literal after
//       it, and a chunk that begins with such a literal (DecodeLzma).
//   G4  A match ends inside of its chunk and of the output (Copy). Copies in large pieces overrun
//       their end, and are used only where that is still output (`wide_end`).
//   G5  lc + lp is at most 4, or the probabilities of literals would not fit (SetProperties).
//   G6  Bits that are used as indexes can't exceed their tables: a tree of N bits gives N bits.
// And what guards time: a chunk gives at least one byte, and its size is bounded by the output's.
#include "xz/lzma2_decoder.h"

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cstring>
#include <iterator>

#include "xz/lzma2_bits.h"
#include "xz/lzma2_symbols.h"
#if defined(__x86_64__)
#include "xz/lzma2_bits_x86.h"
#endif

namespace xzfs {

namespace {

using Chunk = Lzma2State::Chunk;
using Needs = Lzma2State::Needs;

// The control byte that begins a chunk. Facts of the format: see liblzma's lzma2_decoder.c.
constexpr uint8_t kEndMarker = 0;
constexpr uint8_t kPlainAfterReset = 1;  // of the dictionary
constexpr uint8_t kPlain = 2;
constexpr uint8_t kLzma = 0x80;
constexpr uint8_t kLzmaStateReset = 0xa0;
constexpr uint8_t kLzmaProperties = 0xc0;
constexpr uint8_t kLzmaDictionaryReset = 0xe0;
constexpr uint8_t kLzmaSizeBits = 0x1f;

constexpr size_t kPlainHeaderBytes = 3;
constexpr size_t kLzmaHeaderBytes = 5;  // and one more with properties
constexpr uint32_t kCoderBytes = 5;     // of the chunk's data: a zero and the first `code`
constexpr uint8_t kMostProperties = (4 * 5 + 4) * 9 + 8;

size_t BigEndian16(const uint8_t* bytes) { return size_t{bytes[0]} << 8 | bytes[1]; }

bool SetProperties(uint8_t byte, Lzma2State& state) {
  const unsigned lc = byte % 9;
  const unsigned lp = byte / 9 % 5;
  // G5
  if (byte > kMostProperties || lc + lp > LzmaModel::kMostContextBits) {
    return false;
  }
  state.lc = static_cast<uint8_t>(lc);
  state.lp = static_cast<uint8_t>(lp);
  state.pb = byte / (9 * 5);
  return true;
}

// The literals' trees are last, and those that lc and lp leave out are not used.
size_t UsedProbabilities(const Lzma2State& state) {
  const size_t trees = size_t{1} << (state.lc + state.lp);
  return offsetof(LzmaProbabilities, literal) / sizeof(Probability) +
         trees * LzmaModel::kLiteralTree;
}

void ResetModel(Lzma2State& state) {
  state.symbols = 0;
  std::fill(std::begin(state.distances), std::end(state.distances), 0);
  std::fill_n(reinterpret_cast<Probability*>(&state.probabilities), UsedProbabilities(state),
              kEvenOdds);
}

// Whether a chunk with this control byte may come now. Does the reset of the dictionary that it
// asks for.
bool Admit(uint8_t control, Lzma2State& state) {
  if (control == kPlainAfterReset || control >= kLzmaDictionaryReset) {
    state.needs = Needs::kProperties;
    state.position = 0;
  }
  if (control >= kLzmaProperties) {
    return state.needs != Needs::kDictionaryReset;
  }
  if (control >= kLzma) {
    return state.needs == Needs::kNothing;
  }
  return control <= kPlain && state.needs != Needs::kDictionaryReset;
}

// Takes the first bytes of an LZMA chunk, behind the sizes.
bool StartLzma(std::span<const uint8_t>& in, uint8_t control, Lzma2State& state) {
  if (control >= kLzmaProperties) {
    if (!SetProperties(in[0], state)) {
      return false;
    }
    state.needs = Needs::kNothing;
    in = in.subspan(1);
  }
  if (control >= kLzmaStateReset) {
    ResetModel(state);
  }
  if (state.chunk_compressed_left < kCoderBytes || in[0] != 0) {
    return false;
  }
  state.range = UINT32_MAX;
  state.code = static_cast<uint32_t>(BigEndian16(&in[1]) << 16 | BigEndian16(&in[3]));
  state.chunk_compressed_left -= kCoderBytes;
  in = in.subspan(kCoderBytes);
  return true;
}

enum class Begin { kDone, kInput, kDamage };

// G1. Takes the header of the next chunk, which isn't the end marker, if the whole of an LZMA chunk
// or the header of a plain one is in `in`. REQUIRES: `in` isn't empty.
Begin BeginChunk(std::span<const uint8_t>& in, Lzma2State& state) {
  const uint8_t control = in[0];
  const bool lzma = control >= kLzma;
  const size_t header_bytes =
      lzma ? kLzmaHeaderBytes + (control >= kLzmaProperties ? 1 : 0) : kPlainHeaderBytes;
  if (in.size() < header_bytes) {
    return Begin::kInput;
  }
  const size_t compressed_bytes = lzma ? BigEndian16(&in[3]) + 1 : 0;
  if (in.size() < header_bytes + compressed_bytes) {
    return Begin::kInput;
  }
  if (!Admit(control, state)) {
    return Begin::kDamage;
  }
  const size_t high_bits = lzma ? size_t{control & uint32_t{kLzmaSizeBits}} << 16 : 0;
  state.chunk = lzma ? Chunk::kLzma : Chunk::kPlain;
  state.chunk_plain_left = static_cast<uint32_t>(high_bits + BigEndian16(&in[1]) + 1);
  state.chunk_compressed_left = static_cast<uint32_t>(compressed_bytes);
  in = in.subspan(lzma ? kLzmaHeaderBytes : kPlainHeaderBytes);
  return !lzma || StartLzma(in, control, state) ? Begin::kDone : Begin::kDamage;
}

// Copies from a plain chunk until `stop` or until the input ends.
void CopyPlain(std::span<const uint8_t>& in, Lzma2Output& out, const uint8_t* stop,
               Lzma2State& state) {
  const size_t bytes =
      std::min({in.size(), static_cast<size_t>(stop - out.next), size_t{state.chunk_plain_left}});
  std::memcpy(out.next, in.data(), bytes);
  out.next += bytes;
  in = in.subspan(bytes);
  state.position += bytes;
  state.chunk_plain_left -= static_cast<uint32_t>(bytes);
}

template <class Bits>
bool DecodeSymbols(Lzma2State& state, Lzma2Stretch& stretch) {
  // The assembly reads the input, and the compiler doesn't know.
  std::atomic_signal_fence(std::memory_order_seq_cst);
  return UsualContext::Fits(state) ? Lzma2Symbols<Bits, UsualContext>::Decode(state, stretch)
                                   : Lzma2Symbols<Bits, AnyContext>::Decode(state, stretch);
}

bool DecodeSymbols(Lzma2Code code, Lzma2State& state, Lzma2Stretch& stretch) {
#if defined(__x86_64__)
  if (code == Lzma2Code::kX86) {
    return DecodeSymbols<X86Bits>(state, stretch);
  }
#endif
  assert(code == Lzma2Code::kPortable);
  return DecodeSymbols<PortableBits>(state, stretch);
}

// Whether an LZMA chunk ends as it must: with all of its input used, and nothing in the range
// coder.
bool EndsWell(const uint8_t* input, const uint8_t* input_end, Lzma2State& state) {
  RangeDecoder coder = {state.range, state.code, input};
  coder.Normalise();
  return coder.input == input_end && coder.code == 0;
}

// Decodes from an LZMA chunk, whose rest is in `in`, until `stop` or its end. Returns false if the
// data is damaged.
bool DecodeLzma(Lzma2Code code, std::span<const uint8_t>& in, Lzma2Output& out, const uint8_t* stop,
                Lzma2State& state) {
  const size_t room = static_cast<size_t>(out.end - out.next);
  const size_t symbols_end = std::min<size_t>(state.chunk_plain_left, room);
  const size_t symbols_begin = std::min(symbols_end, static_cast<size_t>(stop - out.next));
  Lzma2Stretch stretch = {};
  stretch.input = in.data();
  stretch.input_end = in.data() + state.chunk_compressed_left;
  stretch.out = out.next;
  stretch.stop = out.next + symbols_begin;
  stretch.out_end = out.next + symbols_end;
  stretch.wide_end = std::min(stretch.out_end, out.end - std::min(kCopyOverrun, room));
  const auto here = static_cast<size_t>(out.next - out.begin);
  stretch.history = out.next - std::min<uint64_t>(state.position, here);
  stretch.older_end = out.older.data() + out.older.size();
  stretch.older_bytes =
      state.position > here ? std::min<uint64_t>(state.position - here, out.older.size()) : 0;
  // G3. Otherwise the last symbol was no match, or its distance was checked when it was decoded.
  // Only a state that comes from elsewhere can differ.
  const size_t there = static_cast<size_t>(out.next - stretch.history) + stretch.older_bytes;
  if (state.symbols >= LzmaModel::kFirstAfterMatch && state.distances[0] >= there) {
    return false;
  }
  if (!DecodeSymbols(code, state, stretch)) {
    return false;
  }
  state.chunk_plain_left -= static_cast<uint32_t>(stretch.out - out.next);
  const size_t consumed = state.chunk_plain_left == 0
                              ? state.chunk_compressed_left
                              : static_cast<size_t>(stretch.input - in.data());
  if (state.chunk_plain_left == 0 && !EndsWell(stretch.input, stretch.input_end, state)) {
    return false;
  }
  out.next = stretch.out;
  in = in.subspan(consumed);
  state.chunk_compressed_left -= static_cast<uint32_t>(consumed);
  return true;
}

}  // namespace

Lzma2Code BestLzma2Code() {
#if defined(__x86_64__)
  return Lzma2Code::kX86;
#else
  return Lzma2Code::kPortable;
#endif
}

bool CanRun(Lzma2Code code) { return code == Lzma2Code::kPortable || code == BestLzma2Code(); }

void Lzma2Decoder::Start(uint32_t dictionary_size) {
  // The rest is set by the first LZMA chunk, which must reset it.
  state_.position = 0;
  state_.dictionary_bytes = RoundUpDictionary(dictionary_size);
  state_.chunk = Chunk::kNone;
  state_.needs = Needs::kDictionaryReset;
}

Lzma2Decoder::Stop Lzma2Decoder::Run(std::span<const uint8_t>& in, Lzma2Output& out,
                                     const uint8_t* wanted) {
  assert(out.begin <= out.next && out.next <= wanted && wanted <= out.end);
  const bool to_the_end = wanted == out.end;
  for (;;) {
    if (out.next >= wanted && !to_the_end) {
      return Stop::kWanted;
    }
    if (state_.chunk == Chunk::kNone) {
      if (in.empty()) {
        return Stop::kInput;
      }
      if (in[0] == kEndMarker) {
        in = in.subspan(1);
        return Stop::kEnd;
      }
      const Begin begin = BeginChunk(in, state_);
      if (begin != Begin::kDone) {
        return begin == Begin::kInput ? Stop::kInput : Stop::kDamage;
      }
    }
    if (to_the_end && state_.chunk_plain_left > static_cast<size_t>(out.end - out.next)) {
      return Stop::kDamage;
    }
    if (state_.chunk == Chunk::kPlain) {
      if (in.empty()) {
        return Stop::kInput;
      }
      CopyPlain(in, out, wanted, state_);
    } else {
      if (in.size() < state_.chunk_compressed_left) {  // G1
        return Stop::kInput;
      }
      if (!DecodeLzma(code_, in, out, wanted, state_)) {
        return Stop::kDamage;
      }
    }
    if (state_.chunk_plain_left == 0) {
      state_.chunk = Chunk::kNone;
    }
  }
}

bool IsValid(const Lzma2State& state) {
  constexpr size_t kMostPlain = (size_t{kLzmaSizeBits} + 1) << 16;
  if (state.chunk > Chunk::kLzma || state.needs > Needs::kDictionaryReset || state.pb > 4 ||
      state.lc > LzmaModel::kMostContextBits || state.lp > LzmaModel::kMostContextBits - state.lc ||
      state.symbols >= LzmaModel::kStates || state.chunk_plain_left > kMostPlain ||
      state.chunk_compressed_left > Lzma2Decoder::kChunkBytes) {
    return false;
  }
  if (state.needs != Needs::kNothing) {
    return state.chunk != Chunk::kLzma;
  }
  // G2 counts on these: a probability moves by a 32nd of what it's away from an end, rounded down.
  constexpr Probability kLeast = 31;
  constexpr Probability kMost = (1 << kProbabilityBits) - kLeast;
  const auto* const begin = reinterpret_cast<const Probability*>(&state.probabilities);
  const bool is_range = state.chunk != Chunk::kLzma ||
                        state.range >= (RangeDecoder::kLeastRange >> kProbabilityBits) * kLeast;
  return is_range && std::all_of(begin, begin + UsedProbabilities(state),
                                 [](Probability zero) { return kLeast <= zero && zero <= kMost; });
}

}  // namespace xzfs
