// Writing .xz files that can be read at any offset.
#pragma once

#if __cplusplus < 202002L
#error "xzfs needs C++20: compile with -std=c++20 or later"
#endif

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "xzfs/check.h"
#include "xzfs/export.h"
#include "xzfs/result.h"
#include "xzfs/source_sink.h"

namespace xzfs {

struct WriterOptions {
  unsigned preset = 6;   // 0..9 as xz: more compresses smaller, slower and with more memory
  bool extreme = false;  // xz's -e
  // Unset: CRC64, or, for a file that is appended to, the Check that it has.
  std::optional<Check> check = {};
  // Plain bytes a Block. A reader of one byte decodes a whole Block, and one thread encodes it:
  // smaller Blocks are read faster, larger ones compress smaller. 4 KiB to 1 GiB.
  uint64_t block_bytes = uint64_t{1} << 20;
  // Threads that encode, beside the one that calls. They start with the first full Block. 0: one
  // for each processor that this process may use.
  unsigned threads = 0;
  // The file is on the disk when Close returns. False is faster, and after a power cut the file may
  // be damaged. Ignored for a sink.
  bool sync = true;
};

// Makes one .xz file: one Stream of Blocks that are encoded in parallel. A Block that doesn't
// shrink is stored. The file gets its name in Close, whole: until then, and if Close is never
// called, a file that had the name stays as it is. Not thread-safe; may move between threads. After
// an error each call returns it again. Holds about block_bytes x (2 x threads + 4), and one encoder
// for each thread.
class Writer {
 public:
  // Makes or replaces the file at `path`. The new file gets the owner and mode of the file that it
  // replaces; other names of that file (hard links) stay with it. A symlink is followed.
  // Errors: kInvalid for options that don't exist; what the system said.
  XZFS_EXPORT static Result<Writer> Create(const std::filesystem::path& path,
                                           const WriterOptions& options = {});
  // The calling thread gives the bytes of the file to `sink`, one after another. Without Close the
  // sink has a part of them. Errors: kInvalid; what the sink says.
  XZFS_EXPORT static Result<Writer> Create(Sink sink, const WriterOptions& options = {});
  // As the first. If there is a .xz file at `path` that isn't empty, its content comes before what
  // is written. Its Blocks are copied as they are, unless they have another Check or the last one
  // has less than block_bytes. Blocks: on I/O. Errors: as Create; EBUSY if another Writer appends
  // to it; kDamaged if it is damaged or not an .xz file. If several Writers append to a file that
  // isn't there yet, one makes it, and Close of the others fails with kChanged.
  XZFS_EXPORT static Result<Writer> Append(const std::filesystem::path& path,
                                           const WriterOptions& options = {});
  XZFS_EXPORT ~Writer();
  XZFS_EXPORT Writer(Writer&& other) noexcept;
  XZFS_EXPORT Writer& operator=(Writer&& other) noexcept;

  // Takes all of `plain`. Blocks: on encoding and I/O. Errors: what writing said; ENOMEM.
  XZFS_EXPORT Status Write(std::span<const std::byte> plain);
  XZFS_EXPORT Status Write(std::string_view plain);
  // Ends the Block: what is written next begins another one. So records can be read one by one.
  XZFS_EXPORT Status EndBlock();
  // Completes the file and gives it its name. To be called once. Blocks: on encoding and I/O.
  // Errors: as Write; kChanged if another program changed or made the file that was appended to.
  XZFS_EXPORT Status Close();

  // Plain bytes so far, including those that were there before.
  XZFS_EXPORT uint64_t plain_size() const;

 private:
  class Impl;
  explicit Writer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace xzfs
