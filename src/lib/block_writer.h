// Making one .xz file from bytes that come one after another.
#pragma once

#include <cstdint>
#include <deque>
#include <future>
#include <memory>
#include <span>
#include <utility>

#include "lib/opened_file.h"
#include "store/atomic_file.h"
#include "store/encode_pool.h"
#include "xz/stream_builder.h"
#include "xzfs/bytes.h"
#include "xzfs/reader.h"
#include "xzfs/writer.h"

namespace xzfs {

// What Writer says, without its memory for errors: after one it is of no further use. Not
// thread-safe. May throw std::bad_alloc.
class BlockWriter {
 public:
  // `options` were validated; their Check isn't looked at.
  BlockWriter(AtomicFile file, const WriterOptions& options, Check check);

  // To be called first.
  Status Begin();
  // What `base` holds, which `reader` reads, goes before what is written.
  Status TakeOver(std::shared_ptr<const OpenedFile> base, const Reader& reader);
  Status Write(std::span<const std::byte> plain);
  Status EndBlock();
  // Completes the file. It doesn't have its name yet.
  Status Finish();
  Status Publish() { return file_.Publish(options_.sync); }

  uint64_t plain_size() const { return plain_size_; }
  int fd() const { return file_.fd(); }

 private:
  using Encoded = Result<EncodedBlock>;

  Status EncodeAgain(const Reader& reader, uint64_t begin, uint64_t end);
  Status WriteFront();
  Status Drain();

  AtomicFile file_;
  const WriterOptions options_;
  const EncodeOptions encode_options_;
  StreamBuilder stream_;
  Bytes block_;  // in the making
  uint64_t plain_size_ = 0;
  std::shared_ptr<const OpenedFile> base_;  // that is appended to; may be null
  std::deque<std::future<Encoded>> window_;
  // Last: its tasks end before anything else goes.
  EncodePool pool_;
};

// Errors: EINVAL.
Status ValidateOptions(const WriterOptions& options);

}  // namespace xzfs
