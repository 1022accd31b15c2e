// Write collects the bytes of a Block. EndBlock hands it to an OrderedEncoder with a pool, as the
// commits of a mount do. When that is full, the calling thread writes the Block that comes next: so
// Blocks come out in their order, and memory is bounded. The StreamBuilder counts the position and
// makes the Index.
//
// Appending begins with the base's content (TakeOver). The plan of a commit (XzPlan) says which of
// its Blocks are copied as they are; all others are decoded and written like new bytes. Before a
// copy all Blocks that are being encoded are written, since the copy follows them in the file. The
// base must still be the same file, unchanged, when the new one is complete.
#include "lib/block_writer.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/machine.h"
#include "base/try.h"
#include "store/xz_writer.h"

namespace xzfs {
namespace {

constexpr uint64_t kLeastBlock = uint64_t{4} << 10;
constexpr uint64_t kLargestBlock = uint64_t{1} << 30;
// How much of a Block that is encoded again is read at a time.
constexpr size_t kCopyBytes = size_t{1} << 20;

uint64_t PaddedSize(const BlockInfo& block) { return (block.unpadded_size + 3) / 4 * 4; }

}  // namespace

Status ValidateOptions(const WriterOptions& options) {
  if (options.preset > 9) {
    return Fail(EINVAL,
                "there is no preset " + std::to_string(options.preset) + "; presets are 0 to 9");
  }
  if (options.block_bytes < kLeastBlock || options.block_bytes > kLargestBlock) {
    return Fail(EINVAL,
                "block_bytes is " + std::to_string(options.block_bytes) + ": give 4 KiB to 1 GiB");
  }
  if (options.check && !IsCheckSupported(*options.check)) {
    return Fail(EINVAL, "this liblzma can't compute the Check with the ID " +
                            std::to_string(static_cast<unsigned>(*options.check)));
  }
  return {};
}

BlockWriter::BlockWriter(Output output, const WriterOptions& options, Check check)
    : output_(std::move(output)),
      options_(options),
      encode_options_{.preset = options.preset, .extreme = options.extreme, .check = check},
      stream_(encode_options_.check),
      pool_(options.threads == 0 ? UsableProcessors() : options.threads, options.block_bytes,
            EncodePool::Priority::kNormal),
      encoder_(pool_, {.encode = encode_options_}) {}

Status BlockWriter::Begin() { return Put(stream_.Header(), 0); }

Status BlockWriter::Put(std::span<const std::byte> bytes, uint64_t position) {
  if (const Sink* sink = std::get_if<Sink>(&output_)) {
    return (*sink)(bytes);
  }
  return WriteFully(Os::Real(), fd(), bytes, position);
}

Status BlockWriter::Write(std::span<const std::byte> plain) {
  while (!plain.empty()) {
    block_.reserve(options_.block_bytes);
    const auto part = plain.first(std::min(plain.size(), options_.block_bytes - block_.size()));
    block_.insert(block_.end(), part.begin(), part.end());
    plain = plain.subspan(part.size());
    plain_size_ += part.size();
    if (block_.size() == options_.block_bytes) {
      XZFS_RETURN_IF_ERROR(EndBlock());
    }
  }
  return {};
}

Status BlockWriter::EndBlock() {
  if (!block_.empty()) {
    pool_.Start();  // not sooner: a file of less than one Block needs no threads
  }
  return Submit();
}

Status BlockWriter::Submit() {
  if (block_.empty()) {
    return {};
  }
  const auto plain = std::make_shared<const Bytes>(std::exchange(block_, {}));
  encoder_.Submit([plain](Bytes&) -> Result<std::span<const std::byte>> { return *plain; });
  while (encoder_.IsFull()) {
    XZFS_RETURN_IF_ERROR(WriteFront());
  }
  return {};
}

Status BlockWriter::WriteFront() {
  XZFS_ASSIGN_OR_RETURN(const OrderedEncoder::Encoded encoded, encoder_.Next());
  const EncodedBlock& block = encoded.block;
  XZFS_RETURN_IF_ERROR(Put(block.bytes, stream_.position()));
  return stream_.Add(block.unpadded_size, block.plain_size);
}

Status BlockWriter::Drain() {
  XZFS_RETURN_IF_ERROR(Submit());
  while (encoder_.size() != 0) {
    XZFS_RETURN_IF_ERROR(WriteFront());
  }
  return {};
}

void BlockWriter::AppendTo(std::shared_ptr<const OpenedFile> base) {
  appends_ = true;
  base_ = std::move(base);
}

Status BlockWriter::TakeOver(const Reader& reader) {
  const uint64_t size = reader.size();
  // The plan is made as if one byte followed. So a short last Block isn't copied, and what is
  // written continues it.
  const XzPlan plan(size + 1, options_.block_bytes, encode_options_.check, reader.index(),
                    [](auto, auto) { return true; });
  XzPlan::Cursor pieces(plan);
  for (auto piece = pieces.Next(); piece;) {
    if (!piece->reused) {
      XZFS_RETURN_IF_ERROR(EncodeAgain(reader, piece->begin, std::min(piece->end, size)));
      piece = pieces.Next();
      continue;
    }
    XZFS_RETURN_IF_ERROR(Drain());
    // Neighbours are copied together.
    const uint64_t begin = piece->reused->compressed_offset;
    const uint64_t to = stream_.position();
    uint64_t end = begin;
    for (; piece && piece->reused && piece->reused->compressed_offset == end;
         piece = pieces.Next()) {
      end += PaddedSize(*piece->reused);
      plain_size_ += piece->reused->plain_size;
      XZFS_RETURN_IF_ERROR(stream_.Add(piece->reused->unpadded_size, piece->reused->plain_size));
    }
    XZFS_RETURN_IF_ERROR(CopyRange(Os::Real(), base_->fd(), begin, fd(), to, end - begin));
  }
  return base_->CheckUnchanged();
}

Status BlockWriter::EncodeAgain(const Reader& reader, uint64_t begin, uint64_t end) {
  while (begin < end) {
    XZFS_ASSIGN_OR_RETURN(const Bytes plain,
                          reader.Read(begin, std::min<uint64_t>(end - begin, kCopyBytes)));
    XZFS_RETURN_IF_ERROR(Write(plain));
    begin += plain.size();
  }
  return {};
}

Status BlockWriter::Finish() {
  XZFS_RETURN_IF_ERROR(Drain());
  const uint64_t end = stream_.position();
  XZFS_ASSIGN_OR_RETURN(const Bytes tail, stream_.Finish());
  XZFS_RETURN_IF_ERROR(Put(tail, end));
  return CheckBase();
}

Status BlockWriter::CheckBase() const {
  if (base_ == nullptr) {
    return {};
  }
  XZFS_RETURN_IF_ERROR(base_->CheckUnchanged());
  XZFS_ASSIGN_OR_RETURN(const auto now, OpenedFile::Open(base_->path()));
  if (now->identity().device != base_->identity().device ||
      now->identity().inode != base_->identity().inode) {
    return Fail(ESTALE,
                base_->path() + " was replaced while this Writer appended to it: append again");
  }
  return {};
}

Status BlockWriter::Publish() {
  AtomicFile* const file = std::get_if<AtomicFile>(&output_);
  if (file == nullptr) {
    return {};
  }
  // Without a base there was nothing to lock: two Writers may have begun at the same time.
  Status published =
      file->Publish({.sync = options_.sync, .replaces = !appends_ || base_ != nullptr});
  if (!published && published.error().code == EEXIST) {
    return Fail(ESTALE, published.error().message +
                            ": another program made this file meanwhile; append again");
  }
  return published;
}

}  // namespace xzfs
