// Filter chains: what a Stream's bytes go through.
#pragma once

#if __cplusplus < 202002L
#error "xzfs needs C++20: compile with -std=c++20 or later"
#endif

#include <cstdint>
#include <optional>
#include <variant>

namespace xzfs {

enum class LzmaMode : uint8_t { kFast = 1, kNormal = 2 };

enum class MatchFinder : uint8_t {
  kHashChain3 = 0x03,
  kHashChain4 = 0x04,
  kBinaryTree2 = 0x12,
  kBinaryTree3 = 0x13,
  kBinaryTree4 = 0x14,
};

// Compresses. The preset gives the values that are unset.
template <int kVersion>
struct Lzma {
  unsigned preset = 6;                                 // 0..9: gives what is unset
  bool extreme = false;                                // as xz's -e
  std::optional<uint32_t> dictionary_bytes = {};       // 4 KiB to 1.5 GiB
  std::optional<uint32_t> literal_context_bits = {};   // lc: 0..4, lc + lp at most 4
  std::optional<uint32_t> literal_position_bits = {};  // lp: 0..4
  std::optional<uint32_t> position_bits = {};          // pb: 0..4
  std::optional<LzmaMode> mode = {};
  std::optional<uint32_t> nice_length = {};  // a match of so many bytes is good enough: 2..273
  std::optional<MatchFinder> match_finder = {};
  std::optional<uint32_t> depth = {};  // of the match finder's search; 0: chosen by liblzma
};
using Lzma2 = Lzma<2>;  // of .xz
using Lzma1 = Lzma<1>;  // of .lzma and raw streams

// Replaces each byte by its difference from the one that is `distance_bytes` before it, 1..256.
struct Delta {
  uint32_t distance_bytes = 1;
};

// The IDs of the .xz format.
enum class Machine : uint8_t {
  kX86 = 0x04,
  kPowerPc = 0x05,  // big-endian
  kIa64 = 0x06,
  kArm = 0x07,
  kArmThumb = 0x08,
  kSparc = 0x09,
  kArm64 = 0x0A,
};

// Makes the targets of jumps in machine code alike.
struct Bcj {
  Machine machine = Machine::kX86;
  uint32_t start_offset = 0;  // what offset 0 counts as; a multiple of an instruction's size
};

// One link of a chain. A chain has one to four; the last is an Lzma2 or Lzma1 and no other is.
using Filter = std::variant<Lzma2, Lzma1, Delta, Bcj>;

}  // namespace xzfs
