// Pieces are written in order: encoded ones as they come out of the OrderedEncoder, reused ones
// when it is their turn, with neighbours in one copy. The calling thread plans ahead of the
// encoder.
#include "store/xz_writer.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <memory>
#include <span>
#include <utility>

#include "base/try.h"
#include "store/ordered_encoder.h"
#include "store/ordered_tasks.h"
#include "xz/block_decoder.h"
#include "xz/stream_builder.h"

namespace xzfs {
namespace {

constexpr size_t kCopyBytes = size_t{1} << 20;
// The disk writes while we encode and copy: this much at a time keeps it busy.
constexpr uint64_t kStartBytes = uint64_t{8} << 20;
// Reused Blocks that are neighbours are copied together: at most this many.
constexpr size_t kMostPending = 4096;
// How much memory the decoding of a Block may take: our Blocks need their own size and a bit more.
constexpr uint64_t kVerifyMemory = uint64_t{1} << 30;

bool IsCancelled(const XzWriteRequest& request) {
  return request.cancelled != nullptr && request.cancelled->load(std::memory_order_relaxed);
}

// One file that is being written.
class Writer {
 public:
  Writer(Os& os, EncodePool& pool, const XzWriteRequest& request, int out)
      : os_(os),
        request_(request),
        out_(out),
        stream_(request.options.check),
        encoder_(
            pool,
            {.encode = request.options, .cancelled = request.cancelled, .with_plain_crc = true}) {}

  Result<XzWriteResult> Run();

 private:
  void Submit(const XzPiece& piece);
  Status WriteFront();
  Status WriteEncoded();

  Os& os_;
  const XzWriteRequest& request_;
  const int out_;
  StreamBuilder stream_;
  uint64_t started_ = 0;  // how much is on its way to the disk
  std::deque<XzPiece> window_;
  XzWriteResult result_;
  OrderedEncoder encoder_;  // declared last: its tasks use the request
};

void Writer::Submit(const XzPiece& piece) {
  if (!piece.reused) {
    const auto plain = [&file = *request_.plain, begin = piece.begin,
                        size = piece.end - piece.begin](
                           std::vector<std::byte>& buffer) -> Result<std::span<const std::byte>> {
      buffer.resize(size);
      XZFS_RETURN_IF_ERROR(ReadFully(file, begin, buffer));
      return buffer;
    };
    // The only piece of a small file isn't worth waking a thread for.
    if (request_.plan.piece_count() == 1) {
      encoder_.SubmitHere(plain);
    } else {
      encoder_.Submit(plain);
    }
  }
  window_.push_back(piece);
}

Status Writer::WriteFront() {
  const XzPiece front = window_.front();
  window_.pop_front();
  if (!front.reused) {
    return WriteEncoded();
  }
  // Neighbours in the base are copied together.
  const BlockInfo& first = *front.reused;
  uint64_t end = first.compressed_offset + (first.unpadded_size + 3) / 4 * 4;
  const uint64_t at = stream_.position();
  XZFS_RETURN_IF_ERROR(stream_.Add(first.unpadded_size, first.plain_size));
  result_.plain_crcs.push_back(0);
  ++result_.blocks_reused;
  uint64_t plain_bytes = first.plain_size;
  while (!window_.empty() && window_.front().reused &&
         window_.front().reused->compressed_offset == end) {
    const BlockInfo& next = *window_.front().reused;
    end += (next.unpadded_size + 3) / 4 * 4;
    XZFS_RETURN_IF_ERROR(stream_.Add(next.unpadded_size, next.plain_size));
    result_.plain_crcs.push_back(0);
    ++result_.blocks_reused;
    plain_bytes += next.plain_size;
    window_.pop_front();
  }
  XZFS_RETURN_IF_ERROR(CopyRange(os_, request_.base, first.compressed_offset, out_, at,
                                 end - first.compressed_offset));
  if (request_.on_written) {
    request_.on_written(plain_bytes, end - first.compressed_offset);
  }
  return {};
}

Status Writer::WriteEncoded() {
  XZFS_ASSIGN_OR_RETURN(const OrderedEncoder::Encoded encoded, encoder_.Next());
  XZFS_RETURN_IF_ERROR(WriteFully(os_, out_, encoded.block.bytes, stream_.position()));
  XZFS_RETURN_IF_ERROR(stream_.Add(encoded.block.unpadded_size, encoded.block.plain_size));
  if (stream_.position() - started_ >= kStartBytes) {
    os_.StartWriting(out_, started_, stream_.position() - started_);
    started_ = stream_.position();
  }
  result_.plain_crcs.push_back(encoded.plain_crc);
  ++result_.blocks_encoded;
  result_.blocks_stored += encoded.block.stored ? 1 : 0;
  if (request_.on_written) {
    request_.on_written(encoded.block.plain_size, encoded.block.bytes.size());
  }
  return {};
}

Result<XzWriteResult> Writer::Run() {
  XZFS_RETURN_IF_ERROR(WriteFully(os_, out_, stream_.Header(), 0));
  Status status;
  for (XzPlan::Cursor pieces(request_.plan); const auto piece = pieces.Next();) {
    Submit(*piece);
    while (status && (encoder_.IsFull() || window_.size() > kMostPending)) {
      status = IsCancelled(request_) ? Status(Fail(ECANCELED, "cancelled")) : WriteFront();
    }
    if (!status) {
      break;
    }
  }
  while (status && !window_.empty()) {
    status = WriteFront();
  }
  XZFS_RETURN_IF_ERROR(status);
  const uint64_t end = stream_.position();
  XZFS_ASSIGN_OR_RETURN(const std::vector<std::byte> tail, stream_.Finish());
  XZFS_RETURN_IF_ERROR(WriteFully(os_, out_, tail, end));
  result_.stored_bytes = end + tail.size();
  if (request_.plan.piece_count() > 1) {
    os_.StartWriting(out_, started_, result_.stored_bytes - started_);
  }
  return std::move(result_);
}

Status VerifyPiece(EncodePool& pool, const XzWriteRequest& request, const RandomAccessFile& stored,
                   const BlockIndex& index, const BlockInfo& block, uint64_t plain_crc) try {
  std::unique_ptr<EncodePool::Workspace> workspace = pool.Take(request.options);
  workspace->plain.resize(block.plain_size);
  bool same = false;
  {
    const auto idle = pool.Lower();
    XZFS_ASSIGN_OR_RETURN(
        const auto decoder,
        BlockDecoder::Open(stored, index, block, kVerifyMemory, std::move(workspace->arena)));
    XZFS_RETURN_IF_ERROR(decoder->Decode(stored, workspace->plain));
    workspace->arena = decoder->TakeArena();
    std::array<std::byte, sizeof(uint64_t)> tail;
    const uint64_t end = block.compressed_offset + (block.unpadded_size + 3) / 4 * 4;
    XZFS_RETURN_IF_ERROR(ReadFully(stored, end - tail.size(), tail));
    same = PlainCrc(block.check, tail, workspace->plain) == plain_crc;
  }
  pool.Give(std::move(workspace), request.options);
  return same ? Status()
              : Fail(EIO, "Block " + std::to_string(block.number) +
                              " of the new file does not decode to the bytes that were encoded: "
                              "this machine makes errors; test its memory");
} catch (const std::bad_alloc&) {
  return Fail(ENOMEM, "no memory to verify a Block");
}

}  // namespace

XzPlan::XzPlan(uint64_t size, uint64_t block_bytes) : block_bytes_(block_bytes) {
  EncodeUpTo(size);
}

XzPlan::XzPlan(uint64_t size, uint64_t block_bytes, Check check, const BlockIndex& base,
               const std::function<bool(uint64_t, uint64_t)>& is_base)
    : block_bytes_(block_bytes), base_(&base) {
  for (uint64_t number = 0; number < base.block_count(); ++number) {
    const BlockInfo block = base.Block(number);
    const uint64_t end = block.plain_offset + block.plain_size;
    if (end > size) {
      break;
    }
    const bool grows =
        number + 1 == base.block_count() && size > end && block.plain_size < block_bytes;
    if (block.plain_size != 0 && block.check == check && !grows &&
        is_base(block.plain_offset, end)) {
      EncodeUpTo(block.plain_offset);
      Reuse(block);
    }
  }
  EncodeUpTo(size);
}

void XzPlan::EncodeUpTo(uint64_t end) {
  const uint64_t begin = size();
  if (begin < end) {
    runs_.push_back({begin, end, std::nullopt});
    piece_count_ += (end - begin - 1) / block_bytes_ + 1;
    largest_piece_ = std::max(largest_piece_, std::min(block_bytes_, end - begin));
  }
}

void XzPlan::Reuse(const BlockInfo& block) {
  const uint64_t end = block.plain_offset + block.plain_size;
  if (!runs_.empty() && runs_.back().first_block && next_block_ == block.number) {
    runs_.back().end = end;
  } else {
    runs_.push_back({block.plain_offset, end, block.number});
  }
  next_block_ = block.number + 1;
  ++piece_count_;
  largest_piece_ = std::max(largest_piece_, block.plain_size);
}

std::optional<XzPiece> XzPlan::Cursor::Next() {
  if (run_ == plan_.runs_.size()) {
    return std::nullopt;
  }
  const Run& run = plan_.runs_[run_];
  XzPiece piece{done_, std::min(run.end, done_ + plan_.block_bytes_), std::nullopt};
  if (run.first_block) {
    piece.reused = plan_.base_->Block(*run.first_block + block_++);
    piece.end = done_ + piece.reused->plain_size;
  }
  done_ = piece.end;
  if (done_ == run.end) {
    ++run_;
    block_ = 0;
  }
  return piece;
}

Result<XzWriteResult> WriteXz(Os& os, EncodePool& pool, const XzWriteRequest& request, int out) {
  return Writer(os, pool, request, out).Run();
}

Status VerifyXz(Os& os, EncodePool& pool, const XzWriteRequest& request,
                const XzWriteResult& written, int out) {
  const StoredFile stored(os, out, written.stored_bytes);
  XZFS_ASSIGN_OR_RETURN(const BlockIndex index,
                        BlockIndex::Read(stored, Format::kXz, {.memory_limit_bytes = UINT64_MAX}));
  if (index.block_count() != request.plan.piece_count() ||
      index.plain_size() != request.plan.size()) {
    return Fail(EIO, "the Index of the new file does not agree with what was written");
  }
  Status status;
  XzPlan::Cursor pieces(request.plan);
  OrderedTasks<Status> tasks(pool);
  const auto take_front = [&] {
    const Status verified = tasks.Next();
    status = status ? verified : status;
  };
  for (uint64_t i = 0; i < request.plan.piece_count() && status; ++i) {
    if (pieces.Next()->reused) {
      continue;
    }
    if (IsCancelled(request)) {
      status = Fail(ECANCELED, "cancelled");
      break;
    }
    const auto verify = [&, i] {
      return VerifyPiece(pool, request, stored, index, index.Block(i), written.plain_crcs[i]);
    };
    if (request.plan.piece_count() == 1) {
      tasks.RunHere(verify);
    } else {
      tasks.Run(verify);
    }
    if (tasks.size() > pool.threads() + 2) {
      take_front();
    }
  }
  while (tasks.size() != 0) {
    take_front();
  }
  return status;
}

Result<size_t> StoredFile::ReadAt(uint64_t offset, std::span<std::byte> out) const {
  const uint64_t left = offset < size_ ? size_ - offset : 0;
  const ssize_t got = os_.ReadAll(fd_, out.first(std::min<uint64_t>(out.size(), left)), offset);
  if (got < 0) {
    return FailErrno(static_cast<int>(-got), "read a stored file");
  }
  return static_cast<size_t>(got);
}

Status WriteFully(Os& os, int fd, std::span<const std::byte> bytes, uint64_t offset) {
  const int error = os.WriteAll(fd, bytes, offset);
  return error < 0 ? Status(FailErrno(-error, "write a stored file")) : Status();
}

Status CopyRange(Os& os, int from, uint64_t from_offset, int to, uint64_t to_offset,
                 uint64_t length) {
  std::vector<std::byte> buffer;
  bool in_kernel = true;
  while (length != 0) {
    if (in_kernel) {
      const ssize_t copied =
          os.CopyRange(from, from_offset, to, to_offset, std::min(length, kStartBytes));
      if (copied > 0) {
        os.StartWriting(to, to_offset, static_cast<uint64_t>(copied));
        from_offset += static_cast<uint64_t>(copied);
        to_offset += static_cast<uint64_t>(copied);
        length -= static_cast<uint64_t>(copied);
        continue;
      }
      const bool impossible = copied == 0 || copied == -EXDEV || copied == -EINVAL ||
                              copied == -EOPNOTSUPP || copied == -ENOSYS;
      if (!impossible) {
        return FailErrno(static_cast<int>(-copied), "copy Blocks");
      }
      in_kernel = false;
      buffer.resize(kCopyBytes);
    }
    const size_t want = std::min<uint64_t>(length, buffer.size());
    const StoredFile file(os, from, from_offset + want);
    XZFS_RETURN_IF_ERROR(ReadFully(file, from_offset, std::span(buffer).first(want)));
    XZFS_RETURN_IF_ERROR(WriteFully(os, to, std::span(buffer).first(want), to_offset));
    from_offset += want;
    to_offset += want;
    length -= want;
  }
  return {};
}

}  // namespace xzfs
