// Blocks that are encoded in any order and come out in their own.
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

// Encodes on the threads of a pool. If these have enough to do it encodes on the calling thread: so
// it always makes progress, and needs no other thread when many small files are encoded at the same
// time. The destructor waits for the Blocks that are being encoded and skips those that wait. Not
// thread-safe.
class OrderedEncoder {
 public:
  struct Options {
    EncodeOptions encode;
    // Looked at before and while a Block is encoded. May be null.
    const std::atomic<bool>* cancelled = nullptr;
    // Whether to compute Encoded::plain_crc.
    bool with_plain_crc = false;
  };
  struct Encoded {
    EncodedBlock block;
    uint64_t plain_crc = 0;  // CRC64 of the plain bytes, if the options ask for it
  };
  // Called by the thread that encodes a Block; returns its plain bytes, which it may read into
  // `buffer`. They stay until the Block is encoded.
  using Plain = std::function<Result<std::span<const std::byte>>(std::vector<std::byte>& buffer)>;

  // `pool` outlives this, and so does everything that a Plain uses.
  OrderedEncoder(EncodePool& pool, const Options& options)
      : pool_(pool), options_(options), blocks_(pool) {}
  ~OrderedEncoder() { ended_.store(true, std::memory_order_relaxed); }
  OrderedEncoder(const OrderedEncoder&) = delete;
  OrderedEncoder& operator=(const OrderedEncoder&) = delete;

  // Begins the next Block. May encode it here.
  void Submit(Plain plain);
  // Encodes the next Block here.
  void SubmitHere(Plain plain);
  // Returns the first Block that wasn't taken. Blocks. REQUIRES: size() != 0. Errors: ECANCELED;
  // ENOMEM; the error of its Plain.
  Result<Encoded> Next() { return blocks_.Next(); }

  // How many Blocks weren't taken.
  size_t size() const { return blocks_.size(); }
  // All threads have work, and more waits: the caller should take a Block.
  bool IsFull() const { return size() > pool_.threads() + 2; }

 private:
  Result<Encoded> Encode(const Plain& plain) const;

  EncodePool& pool_;
  const Options options_;
  std::atomic<bool> ended_{false};  // guards nothing
  // Declared last: its tasks use the members above.
  OrderedTasks<Result<Encoded>> blocks_;
};

// The CRC64 of `plain`, which was encoded as a Block that has `check` and ends with `end_of_block`.
// If `check` is CRC64, it is taken from there.
uint64_t PlainCrc(Check check, std::span<const std::byte> end_of_block,
                  std::span<const std::byte> plain);

}  // namespace xzfs
