// Recognizes compressed formats by the first bytes of a file.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "xzfs/format.h"
#include "xzfs/random_access_file.h"
#include "xzfs/result.h"

namespace xzfs {

// How many bytes from the file's start the functions below look at (fewer if the file is shorter).
inline constexpr size_t kFormatProbeBytes = 13;

// `head` begins with the 6 bytes that begin every .xz Stream.
bool HasXzMagic(std::span<const std::byte> head);

// "LZIP" is there.
bool HasLzipMagic(std::span<const std::byte> head);

// A .lzma header that liblzma would accept (the format has no magic: sane properties, a dictionary
// size of 2^n or 2^n + 2^(n-1), an unknown size or one below 256 GiB).
bool LooksLikeLzmaAlone(std::span<const std::byte> head);

// The format of a file whose first kFormatProbeBytes are `head`. Nothing if it is not compressed.
std::optional<Format> FormatByHead(std::span<const std::byte> head);

// The same of a file. Blocks: on I/O. Errors: kDamaged if it is none of these; as RandomAccessFile.
Result<Format> FormatOf(const RandomAccessFile& file);

// The format's name, as in xz: "xz", "lzma" or "lzip".
const char* FormatName(Format format);

}  // namespace xzfs
