// Decodes one Block, in as many steps as the caller likes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "xz/decoder_arena.h"
#include "xz/restart_point.h"
#include "xzfs/block_index.h"
#include "xzfs/random_access_file.h"
#include "xzfs/result.h"

namespace xzfs {

// What came out when liblzma was asked about a Block.
enum class DecoderVerdict {
  kNotAsked,
  kConfirmed,  // liblzma can't decode it either
  kRescued,    // liblzma decodes it; what ours gave before is right
  kWrong,      // ours gave wrong bytes before
};

// Who decodes.
enum class DecoderChoice {
  kAny,      // ours where it can
  kLiblzma,  // for Blocks of which ours gave a wrong account
};

// Decodes one Block from its start to its end; can stop at any byte and go on later. Not
// thread-safe; may move between threads. After an error only Restore makes it usable again.
//
// It never allocates a dictionary larger than the Block, whatever the header asks for.
//
// Our own decoder does the work where a Check proves it right: see Lzma2BlockDecoder. All other
// Blocks, and those that ours says are damaged, are decoded by liblzma, whose word counts. In a
// process whose environment has XZFS_DECODER=liblzma it decodes all of them, and with
// XZFS_DECODER=portable ours uses no assembly.
//
// Restart points: after a DecoderMark and a copy of the bytes of history() are put back, the
// decoder goes on from where they were taken, with the Check that it had computed so far. They can
// be put back in any order, and also after the Block's end or an error. Another decoder of the same
// Block can't use them. The history is plain data of the Block: a copy that was changed gives wrong
// bytes and a wrong Check, and does no other harm.
class BlockDecoder {
 public:
  // Reads the Block Header and prepares the filters. `memory_limit_bytes` bounds what the decoder
  // may allocate. Errors: EIO if the header is damaged, does not agree with the Index or names a
  // filter that liblzma does not have; EFBIG if decoding needs more than the limit. `arena`: that
  // of a decoder that is done, to be used again. Null makes a new one.
  static Result<std::unique_ptr<BlockDecoder>> Open(const RandomAccessFile& file,
                                                    const BlockIndex& index, const BlockInfo& block,
                                                    uint64_t memory_limit_bytes,
                                                    std::unique_ptr<DecoderArena> arena = nullptr,
                                                    DecoderChoice choice = DecoderChoice::kAny);
  ~BlockDecoder();
  BlockDecoder(const BlockDecoder&) = delete;
  BlockDecoder& operator=(const BlockDecoder&) = delete;

  // Fills all of `out` with the next bytes of the Block. When that reaches the Block's end, its
  // Check and sizes are verified before this returns: if a call that ends the Block succeeds, all
  // bytes that this decoder ever gave were right. At the end of the Block an empty `out` only
  // verifies. `file` must have the content that Open read. `pause` is called about once a
  // millisecond while liblzma decodes what was given before; it may wait. Errors: EIO if the Block
  // is damaged; EIO, kSystem, if what was given before was wrong; errors of `file`. Throws
  // std::bad_alloc. REQUIRES: position() + out.size() <= the Block's plain_size.
  Status Decode(const RandomAccessFile& file, std::span<std::byte> out,
                const std::function<void()>& pause = {});

  // Does the same for the first `end` bytes of the Block, of which those before position() are
  // there. `block` is memory for all of the Block, the same at each call: then nothing is copied.
  // Its bytes behind `end` may change. REQUIRES: position() <= end <= block.size(), the Block's
  // plain_size; Decode is never called.
  Status DecodeInto(const RandomAccessFile& file, std::span<std::byte> block, size_t end);

  // Decoded bytes given so far.
  uint64_t position() const;
  // What this decoder holds in memory, in bytes.
  uint64_t memory_bytes() const;
  // What liblzma was asked since the last call of this.
  DecoderVerdict TakeVerdict();

  // The most bytes that history() ever has. 0 if this decoder has no restart points, as the
  // decoders of the legacy formats, and one that asked liblzma since the last Restore.
  size_t most_history_bytes() const;
  // What a restart point needs beside the mark, in two pieces. REQUIRES: it has restart points; the
  // last call of Decode succeeded. Valid until the next call.
  HistoryPieces history() const;
  // REQUIRES: as history().
  DecoderMark Mark() const;
  // Returns where the bytes that history() had then must be put before the next Decode. They need
  // not at position 0. REQUIRES: this decoder made `mark`. Throws
  // std::bad_alloc.
  std::span<std::byte> Restore(const DecoderMark& mark);
  // Frees the memory of the history and of the input, if it has restart points. REQUIRES: one is
  // restored before the next Decode.
  void FreeMemory();

  // Gives up its arena, for the next decoder. Null if this decoder has none. The decoder is of no
  // further use.
  std::unique_ptr<DecoderArena> TakeArena();

 private:
  class Impl;
  explicit BlockDecoder(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// An upper bound of what a BlockDecoder for `block` may allocate, read from its header. Errors: as
// BlockDecoder::Open.
Result<uint64_t> BlockDecoderMemory(const RandomAccessFile& file, const BlockIndex& index,
                                    const BlockInfo& block);

// The filter chain of `block` in xz's own notation, e.g. "lzma2:dict=8MiB"; for the legacy formats
// "lzma1". Errors: as BlockDecoder::Open.
Result<std::string> DescribeFilters(const RandomAccessFile& file, const BlockIndex& index,
                                    const BlockInfo& block);

// "CRC64" and so on; "Unknown-5" for a Check ID that the format reserves.
std::string CheckName(Check check);

// Such as "5.4.1": that of the library that the program runs with.
std::string LiblzmaVersion();

// Fails if the liblzma that the program runs with is older than what the code was made for.
Status RequireLiblzma();

}  // namespace xzfs
