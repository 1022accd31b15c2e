// Two things make LZMA gain: bytes that are easier to guess than others, and repeats.
//
// How well bytes can be guessed is measured as LZMA's literal coder does it with the default lc=3:
// from the top 3 bits of the byte before. That finds what a plain histogram does not, such as a
// picture whose brightness is spread evenly. It is measured segment by segment: a small
// compressible part shows in its own segment but hardly in the whole.
//
// Repeats are found by sampling: the hash of 8 bytes goes into a table once every `stride` bytes
// and is looked up at every position. On average a repeat of L bytes is found L / stride times. So
// every hit stands for `stride` repeated bytes, wherever the repeats are and however long.
//
// Both stop as soon as they have found enough: compressible data is recognised by its first
// segment. Of large Blocks they look at a quarter, spread evenly: all of 1 MiB of noise takes 5.7
// ms, a quarter 1.5 ms, and storing a Block should not wait for that.
#include "xz/incompressible.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numbers>
#include <vector>

namespace xzfs {

namespace {

constexpr size_t kSmallestJudged = 4096;
// The gain that is worth an encoder's time, as a fraction of the plain bytes.
constexpr double kWorthwhile = 0.01;

// 16 bytes for each of the counts of a segment. A Block with fewer than that has one histogram
// instead of 8: they would be too sparse.
constexpr size_t kSegmentBytes = size_t{32} << 10;
constexpr size_t kContexts = 8;
// From this size on every kSampledth segment and stride is looked at.
constexpr size_t kSmallestSampled = size_t{256} << 10;
constexpr size_t kSampled = 4;
constexpr size_t kSymbols = 256;

// At most this many hashes go into the table: its 32 KiB fit into a first-level cache, and at the
// limit of kWorthwhile there are 40 hits or more, enough to decide.
constexpr size_t kLargestSample = 4096;
constexpr size_t kSmallestStride = 64;
constexpr size_t kHashedBytes = 8;

// n * log2(n), in bits. A float is exact enough, and its logarithm is faster.
double Information(uint32_t n) {
  const auto number = static_cast<float>(n);
  return n == 0 ? 0 : number * std::log2(number);
}

// How many bits a byte, of 8, a literal coder saves in `segment`. Chance may make it negative.
double BitsSaved(std::span<const std::byte> segment) {
  std::array<uint32_t, kContexts* kSymbols> counts = {};
  const unsigned shift = segment.size() < kSegmentBytes ? 8 : 5;
  uint32_t context = 0;
  for (const std::byte byte : segment) {
    const auto symbol = std::to_integer<uint32_t>(byte);
    ++counts[context * kSymbols + symbol];
    context = symbol >> shift;
  }
  double bits = 0;
  int degrees_of_freedom = 0;
  for (size_t begin = 0; begin < counts.size(); begin += kSymbols) {
    uint32_t total = 0;
    for (const uint32_t count : std::span(counts).subspan(begin, kSymbols)) {
      total += count;
      bits -= Information(count);
      degrees_of_freedom += count > 0 ? 1 : 0;
    }
    bits += Information(total);
    degrees_of_freedom -= total > 0 ? 1 : 0;
  }
  // A sample looks less random than its source, by this much (Miller and Madow).
  bits += degrees_of_freedom / (2 * std::numbers::ln2);
  return 8 * static_cast<double>(segment.size()) - bits;
}

size_t SampledOf(std::span<const std::byte> plain) {
  return plain.size() < kSmallestSampled ? 1 : kSampled;
}

bool BytesCanBeGuessed(std::span<const std::byte> plain) {
  const size_t sampled = SampledOf(plain);
  const double enough =
      kWorthwhile * 8 * static_cast<double>(plain.size()) / static_cast<double>(sampled);
  // The segments are of equal length, so that none is too short.
  const size_t segments = std::max<size_t>(1, plain.size() / kSegmentBytes);
  const size_t length = plain.size() / segments;
  double saved = 0;
  for (size_t number = 0; number < segments; number += sampled) {
    saved += BitsSaved(plain.subspan(number * length, length));
    if (saved > enough) {
      return true;
    }
  }
  return false;
}

uint64_t HashAt(const std::byte* bytes) {
  uint64_t word = 0;
  std::memcpy(&word, bytes, sizeof(word));
  word *= 0x9E3779B97F4A7C15;  // 2^64 divided by the golden ratio
  return word ^ word >> 32;    // the top bits depend on all of `bytes`; now the low ones do, too
}

bool HasRepeats(std::span<const std::byte> plain) {
  const size_t stride =
      std::max(kSmallestStride, (plain.size() + kLargestSample - 1) / kLargestSample);
  const auto enough = static_cast<size_t>(kWorthwhile * static_cast<double>(plain.size()));
  // The table is half empty, so that few hashes replace others. A slot holds the half of the hash
  // that doesn't choose the slot: that is as good as comparing the bytes. 0 is an empty slot.
  const size_t slots = std::bit_ceil(plain.size() / stride * 2);
  const int slot_shift = 64 - std::countr_zero(slots);
  std::vector<uint32_t> table(slots);
  const auto tag = [](uint64_t hash) { return static_cast<uint32_t>(hash) | 1; };

  const size_t sampled = SampledOf(plain);
  size_t repeated = 0;
  size_t next = 0;
  size_t stride_number = 0;
  const size_t last = plain.size() - kHashedBytes;
  for (size_t begin = 0; begin <= last; begin += stride) {
    const bool is_looked_at = stride_number++ % sampled == 0;
    const size_t end = is_looked_at ? std::min(begin + stride, last + 1) : begin;
    for (next = std::max(next, begin); next < end; ++next) {
      const uint64_t hash = HashAt(&plain[next]);
      if (table[hash >> slot_shift] == tag(hash)) {
        repeated += stride * sampled;
        if (repeated > enough) {
          return true;
        }
        next += stride;  // this hit stands for that many bytes
        break;
      }
    }
    const uint64_t hash = HashAt(&plain[begin]);
    table[hash >> slot_shift] = tag(hash);
  }
  return false;
}

}  // namespace

bool LooksIncompressible(std::span<const std::byte> plain) {
  return plain.size() >= kSmallestJudged && !BytesCanBeGuessed(plain) && !HasRepeats(plain);
}

}  // namespace xzfs
