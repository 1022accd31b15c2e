// Telling compressed formats apart by how a file begins.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "xzfs/block_index.h"

namespace xzfs {

// How many bytes from the file's start the functions below look at (fewer if the file is shorter).
inline constexpr size_t kFormatProbeBytes = 13;

// The 6 bytes that begin every .xz Stream are there.
bool HasXzMagic(std::span<const std::byte> head);

// "LZIP" is there.
bool HasLzipMagic(std::span<const std::byte> head);

// A .lzma header that liblzma would accept (the format has no magic: sane properties, a dictionary
// size of 2^n or 2^n + 2^(n-1), an unknown size or one below 256 GiB).
bool LooksLikeLzmaAlone(std::span<const std::byte> head);

// What a file is that begins with `head`, its first kFormatProbeBytes. Nothing: no compressed file.
std::optional<Format> FormatByHead(std::span<const std::byte> head);

// As xz names it: "xz", "lzma" or "lzip".
const char* FormatName(Format format);

}  // namespace xzfs
