// Whole files in one call.
#pragma once

#if __cplusplus < 202002L
#error "xzfs needs C++20: compile with -std=c++20 or later"
#endif

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string_view>

#include "xzfs/byte_string.h"
#include "xzfs/export.h"
#include "xzfs/reader.h"
#include "xzfs/result.h"
#include "xzfs/writer.h"

namespace xzfs {

// Learns how many plain bytes are done and how many there are, from the thread that made the call.
// `total_bytes` is what the file says, and may change. Returns whether to go on: false ends the
// call with kCancelled, and everything is as it was before.
using Progress = std::function<bool(uint64_t done_bytes, uint64_t total_bytes)>;

struct ReadFileOptions {
  // The threads that decode, and what the file may ask for.
  ReadCacheOptions cache = {};
  // A file that has more plain bytes is refused with kOverLimit before any is decoded. For files
  // that are not trusted.
  uint64_t most_plain_bytes = UINT64_MAX;
};

// All decoded bytes of the .xz, .lzma or .lz file at `path`. Decodes on all processors.
// Thread-safe. Blocks. Errors: as Reader; kCancelled; ENOMEM.
XZFS_EXPORT Result<Bytes> ReadFile(const std::filesystem::path& path,
                                   const ReadFileOptions& options = {},
                                   const Progress& progress = {});

// Makes or replaces the .xz file at `path` so that it holds `plain`. Errors: as Writer. Blocks.
XZFS_EXPORT Status WriteFile(const std::filesystem::path& path, std::span<const std::byte> plain,
                             const WriterOptions& options = {});
XZFS_EXPORT Status WriteFile(const std::filesystem::path& path, std::string_view plain,
                             const WriterOptions& options = {});

// Makes or replaces the .xz file `to` so that it holds the bytes of the file `from`, which stays.
// `from` is read to its end, whatever size the system says it has: so files of /proc and /sys work,
// too. Mode and times are copied, as xz does. Errors: as Writer; kChanged if the size or the mtime
// of `from` changed during the call; kCancelled. After an error `to` is what it was before. Blocks.
XZFS_EXPORT Status CompressFile(const std::filesystem::path& from, const std::filesystem::path& to,
                                const WriterOptions& options = {}, const Progress& progress = {});

// Makes or replaces the plain file `to` so that it holds the decoded bytes of the .xz, .lzma or .lz
// file `from`, which stays. Mode and times are copied. The new file gets its name when it is whole
// and on the disk. Errors: as Reader; kCancelled; what writing said. After an error `to` is what it
// was before. Blocks.
XZFS_EXPORT Status DecompressFile(const std::filesystem::path& from,
                                  const std::filesystem::path& to,
                                  const ReadFileOptions& options = {},
                                  const Progress& progress = {});

}  // namespace xzfs
