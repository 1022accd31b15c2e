// Filter chains: what a Stream's bytes go through.
#pragma once

#include <cstdint>
#include <optional>

namespace xzfs {

// IDs of the .xz format, but for kLzma1, which only .lzma and raw streams have.
enum class FilterId : uint64_t {
  kDelta = 0x03,
  kX86 = 0x04,
  kPowerPc = 0x05,  // big-endian
  kIa64 = 0x06,
  kArm = 0x07,
  kArmThumb = 0x08,
  kSparc = 0x09,
  kArm64 = 0x0A,
  kLzma2 = 0x21,
  kLzma1 = 0x4000000000000001,
};

enum class LzmaMode : uint8_t { kFast = 1, kNormal = 2 };

enum class MatchFinder : uint8_t {
  kHashChain3 = 0x03,
  kHashChain4 = 0x04,
  kBinaryTree2 = 0x12,
  kBinaryTree3 = 0x13,
  kBinaryTree4 = 0x14,
};

// One link of a chain. A chain has one to four; the last is an LZMA filter and no other is. What a
// field's filter is not, ignores it. What is unset of an LZMA filter is what its preset says.
struct Filter {
  FilterId id = FilterId::kLzma2;

  // kLzma1 and kLzma2.
  unsigned preset = 6;                                 // 0..9, where the rest is taken from
  bool extreme = false;                                // as xz's -e
  std::optional<uint32_t> dictionary_bytes = {};       // 4 KiB to 1.5 GiB
  std::optional<uint32_t> literal_context_bits = {};   // lc: 0..4, lc + lp at most 4
  std::optional<uint32_t> literal_position_bits = {};  // lp: 0..4
  std::optional<uint32_t> position_bits = {};          // pb: 0..4
  std::optional<LzmaMode> mode = {};
  std::optional<uint32_t> nice_length = {};  // a match of so many bytes is good enough: 2..273
  std::optional<MatchFinder> match_finder = {};
  std::optional<uint32_t> depth = {};  // of the match finder's search; 0: chosen by liblzma

  // kDelta: bytes between those that are subtracted, 1..256.
  uint32_t distance_bytes = 1;

  // Filters for machine code: what the offset 0 is taken for; a multiple of the instructions' size.
  uint32_t start_offset = 0;
};

}  // namespace xzfs
