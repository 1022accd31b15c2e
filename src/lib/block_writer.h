// Making one .xz file from bytes that come one after another.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <variant>

#include "lib/opened_file.h"
#include "store/atomic_file.h"
#include "store/encode_pool.h"
#include "store/ordered_encoder.h"
#include "xz/stream_builder.h"
#include "xzfs/byte_string.h"
#include "xzfs/reader.h"
#include "xzfs/source_sink.h"
#include "xzfs/writer.h"

namespace xzfs {

// What Writer says, without its memory for errors: after one it is of no further use. Not
// thread-safe. May throw std::bad_alloc.
class BlockWriter {
 public:
  // A file of ours, or what a sink makes of the same bytes in the same order.
  using Output = std::variant<AtomicFile, Sink>;

  // `options` were validated; their Check isn't looked at.
  BlockWriter(Output output, const WriterOptions& options, Check check);

  // To be called first.
  Status Begin();
  // What has the name when the file is complete must be `base`, as it was opened, or, if that is
  // null, nothing. REQUIRES: the output is a file.
  void AppendTo(std::shared_ptr<const OpenedFile> base);
  // What the base holds, which `reader` reads, goes before what is written. REQUIRES: there is one.
  Status TakeOver(const Reader& reader);
  Status Write(std::span<const std::byte> plain);
  Status EndBlock();
  // Completes the file. It doesn't have its name yet.
  Status Finish();
  // Nothing for a sink. Errors: ESTALE if the name isn't that of what was appended to; what the
  // system said.
  Status Publish();

  uint64_t plain_size() const { return plain_size_; }
  // REQUIRES: the output is a file.
  int fd() const { return std::get<AtomicFile>(output_).fd(); }

 private:
  // What comes next, at `position`.
  Status Put(std::span<const std::byte> bytes, uint64_t position);
  Status EncodeAgain(const Reader& reader, uint64_t begin, uint64_t end);
  Status WriteFront();
  Status Drain();
  Status CheckBase() const;

  Output output_;
  const WriterOptions options_;
  const EncodeOptions encode_options_;
  StreamBuilder stream_;
  Bytes block_;  // in the making
  uint64_t plain_size_ = 0;
  bool appends_ = false;
  std::shared_ptr<const OpenedFile> base_;  // that is appended to; null if there is none
  EncodePool pool_;
  // Last: its tasks end before anything else goes.
  OrderedEncoder encoder_;
};

// Errors: EINVAL.
Status ValidateOptions(const WriterOptions& options);

}  // namespace xzfs
