// Whole files in one call.
#pragma once

#include <span>
#include <string>

#include "xzfs/bytes.h"
#include "xzfs/export.h"
#include "xzfs/result.h"
#include "xzfs/writer.h"

namespace xzfs {

// All decoded bytes of the .xz, .lzma or .lz file at `path`. Decodes on all processors.
// Thread-safe. Blocks. Errors: as Reader; ENOMEM.
XZFS_EXPORT Result<Bytes> ReadFile(const std::string& path);

// Makes or replaces the .xz file at `path` so that it holds `plain`. Errors: as Writer. Blocks.
XZFS_EXPORT Status WriteFile(const std::string& path, std::span<const std::byte> plain,
                             const WriterOptions& options = {});

// Makes or replaces the .xz file `to` so that it holds the bytes of the file `from`, which stays.
// `from` is read to its end, whatever size it says: files of /proc and /sys, too. Mode and times
// are copied, as xz does. Errors: as Writer; ESTALE if `from` changed meanwhile, its size or its
// mtime; `to` is what it was then. Blocks.
XZFS_EXPORT Status CompressFile(const std::string& from, const std::string& to,
                                const WriterOptions& options = {});

// Makes or replaces the plain file `to` so that it holds the decoded bytes of the .xz, .lzma or .lz
// file `from`, which stays. Mode and times are copied. It has its name when it is whole and on the
// disk. Errors: as Reader; what writing said. Blocks.
XZFS_EXPORT Status DecompressFile(const std::string& from, const std::string& to);

}  // namespace xzfs
