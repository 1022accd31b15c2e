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

// Does what Writer promises, but doesn't remember errors: after one it is of no further use. Not
// thread-safe. May throw std::bad_alloc.
class BlockWriter {
 public:
  // A file of ours, or a sink that gets the same bytes in the same order.
  using Output = std::variant<AtomicFile, Sink>;

  // `options` were validated. Their Check is ignored: `check` is used.
  BlockWriter(Output output, const WriterOptions& options, Check check);

  // To be called first.
  Status Begin();
  // When the file is complete its name must still be that of `base`, as it was opened. If `base` is
  // null, no file may have the name. REQUIRES: the output is a file.
  void AppendTo(std::shared_ptr<const OpenedFile> base);
  // Puts the content of the base, which `reader` reads, before what is written. REQUIRES: there is
  // a base.
  Status TakeOver(const Reader& reader);
  Status Write(std::span<const std::byte> plain);
  Status EndBlock();
  // Completes the file. It doesn't have its name yet.
  Status Finish();
  // Does nothing for a sink. Errors: ESTALE if the name isn't that of the file that was appended
  // to; what the system said.
  Status Publish();

  uint64_t plain_size() const { return plain_size_; }
  // REQUIRES: the output is a file.
  int fd() const { return std::get<AtomicFile>(output_).fd(); }

 private:
  // Writes the next bytes, which belong at `position`.
  Status Put(std::span<const std::byte> bytes, uint64_t position);
  Status EncodeAgain(const Reader& reader, uint64_t begin, uint64_t end);
  // Gives the Block to the encoder, which encodes it here while there are no threads.
  Status Submit();
  Status WriteFront();
  Status Drain();
  Status CheckBase() const;

  Output output_;
  const WriterOptions options_;
  const EncodeOptions encode_options_;
  StreamBuilder stream_;
  Bytes block_;  // not complete yet
  uint64_t plain_size_ = 0;
  bool appends_ = false;
  std::shared_ptr<const OpenedFile> base_;  // that is appended to; null if there is none
  EncodePool pool_;
  // The last member: so its tasks end before the others are destroyed.
  OrderedEncoder encoder_;
};

// Errors: EINVAL.
Status ValidateOptions(const WriterOptions& options);

}  // namespace xzfs
