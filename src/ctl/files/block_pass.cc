#include "ctl/files/block_pass.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/parallel_for.h"
#include "base/try.h"
#include "ctl/files/damage.h"
#include "xz/block_decoder.h"

namespace xzfs {
namespace {

constexpr uint64_t kPartBytes = uint64_t{1} << 20;

thread_local std::unique_ptr<DecoderArena> kept_arena;

}  // namespace

Status PassBlock(const RandomAccessFile& stored, const BlockIndex& index, const BlockInfo& block,
                 const std::atomic<bool>& cancelled, const TakeBytes& take) try {
  XZFS_ASSIGN_OR_RETURN(const auto decoder, BlockDecoder::Open(stored, index, block, kDecoderBytes,
                                                               std::move(kept_arena)));
  std::vector<std::byte> part(std::min(kPartBytes, block.plain_size));
  Status status;
  do {
    const uint64_t at = decoder->position();
    const auto bytes =
        std::span(part).first(std::min<uint64_t>(part.size(), block.plain_size - at));
    status = cancelled ? Status(Fail(ECANCELED, "cancelled")) : decoder->Decode(stored, bytes);
    if (status) {
      status = take(block.plain_offset + at, bytes);
    }
  } while (status && decoder->position() < block.plain_size);
  kept_arena = decoder->TakeArena();
  return status;
} catch (const std::bad_alloc&) {
  return Fail(ENOMEM, "no memory to decode a Block");
}

Status PassFile(WorkerPool& pool, unsigned threads, const RandomAccessFile& stored,
                const BlockIndex& index, const std::atomic<bool>& cancelled,
                const TakeBytes& take) {
  std::atomic<bool> ends{false};  // guards nothing
  Mutex mutex;
  Status status;
  ParallelFor(
      pool, threads - 1, index.block_count(),
      [&](size_t number) {
        if (ends) {
          return;
        }
        const BlockInfo block = index.Block(number);
        bool is_taken = true;
        const auto take_it = [&](uint64_t offset, std::span<const std::byte> bytes) {
          Status taken = take(offset, bytes);
          is_taken = is_taken && taken.has_value();
          return taken;
        };
        Status passed = PassBlock(stored, index, block, cancelled, take_it);
        if (!passed && is_taken && !cancelled) {
          passed = Failure(DamageIn(block, std::move(passed.error())));
        }
        if (!passed) {
          MutexLock lock(mutex);
          if (status) {
            status = std::move(passed);
          }
          ends = true;
        }
      },
      /*group=*/1);
  return status;
}

}  // namespace xzfs
