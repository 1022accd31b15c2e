// Blocks that are encoded in any order and come out in theirs.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "store/encode_pool.h"
#include "store/ordered_tasks.h"
#include "xz/block_encoder.h"
#include "xzfs/result.h"

namespace xzfs {

// Encodes on the threads of a pool and, where these have enough to do, on the calling one: so it
// always makes progress, and small files, of which many are encoded at the same time, need no other
// thread. Its end waits for the Blocks that are at work and skips those that wait. Not thread-safe.
class OrderedEncoder {
 public:
  struct Options {
    EncodeOptions encode;
    // Looked at before and while a Block is encoded. May be null.
    const std::atomic<bool>* cancelled = nullptr;
    // Encoded::plain_crc is wanted.
    bool with_plain_crc = false;
  };
  struct Encoded {
    EncodedBlock block;
    uint64_t plain_crc = 0;  // CRC64 of the plain bytes, if it is wanted
  };
  // Gives the plain bytes of a Block to the thread that encodes it, and may read them into
  // `buffer`. They stay until the Block is encoded.
  using Plain = std::function<Result<std::span<const std::byte>>(std::vector<std::byte>& buffer)>;

  // `pool` outlives this; so does all that a Plain uses.
  OrderedEncoder(EncodePool& pool, const Options& options)
      : pool_(pool), options_(options), blocks_(pool) {}
  ~OrderedEncoder() { ended_.store(true, std::memory_order_relaxed); }
  OrderedEncoder(const OrderedEncoder&) = delete;
  OrderedEncoder& operator=(const OrderedEncoder&) = delete;

  // Begins the next Block. May encode it here.
  void Submit(Plain plain);
  // Encodes the next Block here.
  void SubmitHere(Plain plain);
  // The first Block that wasn't taken. Blocks. REQUIRES: size() != 0. Errors: ECANCELED; ENOMEM;
  // what its Plain said.
  Result<Encoded> Next() { return blocks_.Next(); }

  // Blocks that weren't taken.
  size_t size() const { return blocks_.size(); }
  // All threads have work, and there is some more: time to take one.
  bool IsFull() const { return size() > pool_.threads() + 2; }

 private:
  Result<Encoded> Encode(const Plain& plain) const;

  EncodePool& pool_;
  const Options options_;
  std::atomic<bool> ended_{false};  // guards nothing
  // Last: its tasks use the above.
  OrderedTasks<Result<Encoded>> blocks_;
};

// The CRC64 of `plain`, which was encoded as a Block that has `check` and ends with
// `end_of_block`. If that is its Check it was computed before.
uint64_t PlainCrc(Check check, std::span<const std::byte> end_of_block,
                  std::span<const std::byte> plain);

}  // namespace xzfs
