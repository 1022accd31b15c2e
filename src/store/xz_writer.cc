// Blocks are encoded in any order and written in theirs: a window of slots, the front of which is
// written as soon as it is done. Who fills the window is the calling thread; where the pool's
// threads are busy it encodes itself, so that a commit always makes progress and small files, of
// which many are committed at the same time, need no hand-over.
#include "store/xz_writer.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "base/try.h"
#include "store/task_group.h"
#include "xz/block_decoder.h"
#include "xz/stream_builder.h"
#include "xzfs/check.h"

namespace xzfs {
namespace {

constexpr size_t kCopyBytes = size_t{1} << 20;
// The disk writes while we encode and copy: so much at a time keeps it busy.
constexpr uint64_t kStartBytes = uint64_t{8} << 20;
// Blocks that are reused are copied together, if they are neighbours: so many, at most.
constexpr size_t kMostPending = 4096;
// What a Block may take of memory to be decoded: those that we make need their own size and a bit.
constexpr uint64_t kVerifyMemory = uint64_t{1} << 30;

// Something that a thread of the pool does, or we do.
template <class T>
class Slot {
 public:
  void Set(Result<T> result) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    result_ = std::move(result);
    done_ = true;
    changed_.NotifyAll();
  }
  Result<T> Take() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    while (!done_) {
      changed_.Wait(mutex_);
    }
    return std::move(result_);
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  bool done_ GUARDED_BY(mutex_) = false;
  Result<T> result_ GUARDED_BY(mutex_) = Fail(ECANCELED, "not done");
};

struct Encoded {
  EncodedBlock block;
  uint64_t plain_crc = 0;
};

bool IsCancelled(const XzWriteRequest& request) {
  return request.cancelled != nullptr && request.cancelled->load(std::memory_order_relaxed);
}

// The CRC64 of a Block's plain bytes, if that is its Check: the encoder has computed it already,
// and decoding compares it.
std::optional<uint64_t> CheckOf(uint8_t check, std::span<const std::byte> at_its_end) {
  if (check != static_cast<uint8_t>(Check::kCrc64) || at_its_end.size() < sizeof(uint64_t)) {
    return std::nullopt;
  }
  uint64_t crc = 0;
  for (const std::byte byte : at_its_end.last(sizeof crc)) {  // little endian
    crc = crc >> 8 | uint64_t{std::to_integer<uint8_t>(byte)} << 56;
  }
  return crc;
}

Result<Encoded> EncodePiece(EncodePool& pool, const XzWriteRequest& request,
                            const XzPiece& piece) try {
  std::unique_ptr<EncodePool::Workspace> workspace = pool.Take(request.options);
  workspace->plain.resize(piece.end - piece.begin);
  Encoded encoded;
  {
    const auto idle = pool.Lower();
    XZFS_RETURN_IF_ERROR(ReadFully(*request.plain, piece.begin, workspace->plain));
    XZFS_ASSIGN_OR_RETURN(encoded.block,
                          workspace->encoder.Encode(workspace->plain, request.cancelled));
    const auto own = CheckOf(request.options.check, encoded.block.bytes);
    encoded.plain_crc = own ? *own : Crc64(workspace->plain);
  }
  pool.Give(std::move(workspace), request.options);
  return encoded;
} catch (const std::bad_alloc&) {
  return Fail(ENOMEM, "no memory to encode a Block");
}

// One file on its way out.
class Writer {
 public:
  Writer(Os& os, EncodePool& pool, const XzWriteRequest& request, int out)
      : os_(os),
        pool_(pool),
        request_(request),
        out_(out),
        stream_(request.options.check),
        tasks_(pool) {}

  Result<XzWriteResult> Run();

 private:
  struct Pending {
    XzPiece piece;
    std::shared_ptr<Slot<Encoded>> slot;  // null: it is reused
  };

  void Submit(const XzPiece& piece);
  Status WriteFront();
  Status WriteEncoded(const Pending& front);

  Os& os_;
  EncodePool& pool_;
  const XzWriteRequest& request_;
  const int out_;
  StreamBuilder stream_;
  uint64_t started_ = 0;  // so much is on its way to the disk
  std::deque<Pending> window_;
  XzWriteResult result_;
  TaskGroup tasks_;  // last: they use the above, and the request
};

void Writer::Submit(const XzPiece& piece) {
  Pending pending{piece, nullptr};
  if (!piece.reused) {
    pending.slot = std::make_shared<Slot<Encoded>>();
    const auto encode = [&pool = pool_, &request = request_, piece, slot = pending.slot] {
      slot->Set(IsCancelled(request) ? Result<Encoded>(Fail(ECANCELED, "cancelled"))
                                     : EncodePiece(pool, request, piece));
    };
    // The only piece of a small file isn't worth waking a thread for.
    if (request_.plan.piece_count() == 1) {
      encode();
    } else {
      tasks_.Run(encode);
    }
  }
  window_.push_back(std::move(pending));
}

Status Writer::WriteFront() {
  const Pending front = std::move(window_.front());
  window_.pop_front();
  if (front.slot != nullptr) {
    return WriteEncoded(front);
  }
  // Neighbours in the base are one copy.
  const BlockInfo& first = *front.piece.reused;
  uint64_t end = first.compressed_offset + (first.unpadded_size + 3) / 4 * 4;
  const uint64_t at = stream_.position();
  XZFS_RETURN_IF_ERROR(stream_.Add(first.unpadded_size, first.plain_size));
  result_.plain_crcs.push_back(0);
  ++result_.blocks_reused;
  while (!window_.empty() && window_.front().slot == nullptr &&
         window_.front().piece.reused->compressed_offset == end) {
    const BlockInfo& next = *window_.front().piece.reused;
    end += (next.unpadded_size + 3) / 4 * 4;
    XZFS_RETURN_IF_ERROR(stream_.Add(next.unpadded_size, next.plain_size));
    result_.plain_crcs.push_back(0);
    ++result_.blocks_reused;
    window_.pop_front();
  }
  return CopyRange(os_, request_.base, first.compressed_offset, out_, at,
                   end - first.compressed_offset);
}

Status Writer::WriteEncoded(const Pending& front) {
  XZFS_ASSIGN_OR_RETURN(const Encoded encoded, front.slot->Take());
  XZFS_RETURN_IF_ERROR(WriteFully(os_, out_, encoded.block.bytes, stream_.position()));
  XZFS_RETURN_IF_ERROR(stream_.Add(encoded.block.unpadded_size, encoded.block.plain_size));
  if (stream_.position() - started_ >= kStartBytes) {
    os_.StartWriting(out_, started_, stream_.position() - started_);
    started_ = stream_.position();
  }
  result_.plain_crcs.push_back(encoded.plain_crc);
  ++result_.blocks_encoded;
  result_.blocks_stored += encoded.block.stored ? 1 : 0;
  return {};
}

Result<XzWriteResult> Writer::Run() {
  XZFS_RETURN_IF_ERROR(WriteFully(os_, out_, stream_.Header(), 0));
  const size_t most_encoding = pool_.threads() + 2;
  size_t encoding = 0;
  Status status;
  for (XzPlan::Cursor pieces(request_.plan); const auto piece = pieces.Next();) {
    Submit(*piece);
    encoding += piece->reused ? 0 : 1;
    while (status && (encoding > most_encoding || window_.size() > kMostPending)) {
      encoding -= window_.front().slot != nullptr ? 1 : 0;
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
    const auto own = CheckOf(block.check, tail);
    same = (own ? *own : Crc64(workspace->plain)) == plain_crc;
  }
  pool.Give(std::move(workspace), request.options);
  return same ? Status()
              : Fail(EIO, "Block " + std::to_string(block.number) +
                              " of the new file does not decode to what was encoded: this machine "
                              "makes errors, test its memory");
} catch (const std::bad_alloc&) {
  return Fail(ENOMEM, "no memory to verify a Block");
}

}  // namespace

XzPlan::XzPlan(uint64_t size, uint64_t block_bytes) : block_bytes_(block_bytes) {
  EncodeUpTo(size);
}

XzPlan::XzPlan(uint64_t size, uint64_t block_bytes, uint8_t check, const BlockIndex& base,
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
                        BlockIndex::Read(stored, Format::kXz, {.memory_bytes = UINT64_MAX}));
  if (index.block_count() != request.plan.piece_count() ||
      index.plain_size() != request.plan.size()) {
    return Fail(EIO, "the Index of the new file is not that of what was written");
  }
  std::deque<std::shared_ptr<Slot<bool>>> window;
  Status status;
  const auto take_front = [&] {
    const Result<bool> verified = window.front()->Take();
    window.pop_front();
    if (!verified && status) {
      status = Failure(verified.error());
    }
  };
  XzPlan::Cursor pieces(request.plan);
  TaskGroup tasks(pool);
  for (uint64_t i = 0; i < request.plan.piece_count() && status; ++i) {
    if (pieces.Next()->reused) {
      continue;
    }
    if (IsCancelled(request)) {
      status = Fail(ECANCELED, "cancelled");
      break;
    }
    auto slot = std::make_shared<Slot<bool>>();
    const auto verify = [&, i, slot] {
      const Status piece =
          VerifyPiece(pool, request, stored, index, index.Block(i), written.plain_crcs[i]);
      slot->Set(piece ? Result<bool>(true) : Failure(piece.error()));
    };
    if (request.plan.piece_count() == 1) {
      verify();
    } else {
      tasks.Run(verify);
    }
    window.push_back(std::move(slot));
    if (window.size() > pool.threads() + 2) {
      take_front();
    }
  }
  while (!window.empty()) {
    take_front();
  }
  return status;
}

Result<size_t> StoredFile::ReadAt(uint64_t offset, std::span<std::byte> out) const {
  size_t done = 0;
  while (done < out.size() && offset + done < size_) {
    const size_t want = std::min<uint64_t>(out.size() - done, size_ - offset - done);
    const ssize_t got = os_.PRead(fd_, out.subspan(done, want), offset + done);
    if (got < 0) {
      return FailSource(static_cast<int>(-got), "read a stored file");
    }
    if (got == 0) {
      break;
    }
    done += static_cast<size_t>(got);
  }
  return done;
}

Status WriteFully(Os& os, int fd, std::span<const std::byte> bytes, uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t put = os.PWrite(fd, bytes, offset);
    if (put < 0) {
      return FailErrno(static_cast<int>(-put), "write a stored file");
    }
    bytes = bytes.subspan(static_cast<size_t>(put));
    offset += static_cast<uint64_t>(put);
  }
  return {};
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
