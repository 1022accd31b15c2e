// What a decoder needs to go on from a place where it was.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace xzfs {

// Where a decoder stands: a part of a restart point, see BlockDecoder. Only the decoder that made
// it may use it, because it may hold addresses.
struct DecoderMark {
  uint64_t position = 0;             // BlockDecoder::position()
  uint64_t compressed_position = 0;  // of the input, in the file
  std::vector<std::byte> coder;      // of the coder that decodes, up to about 40 KiB
};

// The other part, the plain bytes that it keeps: those of the first piece, then those of the
// second.
using HistoryPieces = std::array<std::span<const std::byte>, 2>;

}  // namespace xzfs
