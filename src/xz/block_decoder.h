// Decodes one Block, in as many steps as the caller likes.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "xz/decoder_arena.h"
#include "xzfs/block_index.h"
#include "xzfs/random_access_file.h"
#include "xzfs/result.h"

namespace xzfs {

// Where a decoder stands: a part of a restart point, see BlockDecoder. Only the decoder that made
// it can use it.
struct DecoderMark {
  uint64_t position = 0;             // BlockDecoder::position()
  uint64_t compressed_position = 0;  // of the input, in the file
  std::vector<std::byte> coder;      // liblzma's structures, about 40 KiB; has pointers in it
};

// Decodes one Block from its start to its end; can stop at any byte and go on later. Not
// thread-safe; may move between threads. After an error only Restore makes it usable again.
//
// It never allocates a dictionary larger than the Block, whatever the header asks for.
//
// Restart points: after a DecoderMark and a copy of the bytes of dictionary() are put back, the
// decoder goes on from where they were taken, with the Check that it had computed so far. They can
// be put back in any order, and also after the Block's end or an error. They hold addresses:
// another decoder of the same Block can't use them. The dictionary is plain data of the Block: a
// copy that was changed gives wrong bytes and a wrong Check, and does no other harm.
class BlockDecoder {
 public:
  // Reads the Block Header and prepares the filters. `memory_limit_bytes` bounds what the decoder
  // may allocate. Errors: EIO if the header is damaged, does not agree with the Index or names a
  // filter that liblzma does not have; EFBIG if decoding needs more than the limit. `arena`: that
  // of a decoder that is done, to be used again. Null makes a new one.
  static Result<std::unique_ptr<BlockDecoder>> Open(const RandomAccessFile& file,
                                                    const BlockIndex& index, const BlockInfo& block,
                                                    uint64_t memory_limit_bytes,
                                                    std::unique_ptr<DecoderArena> arena = nullptr);
  ~BlockDecoder();
  BlockDecoder(const BlockDecoder&) = delete;
  BlockDecoder& operator=(const BlockDecoder&) = delete;

  // Fills all of `out` with the next bytes of the Block. When that reaches the Block's end, its
  // Check and sizes are verified before this returns: if a call that ends the Block succeeds, all
  // bytes that this decoder ever gave were right. At the end of the Block an empty `out` only
  // verifies. `file` must have the content that Open read. Errors: EIO if the Block is damaged;
  // errors of `file`. REQUIRES: position() + out.size() <= the Block's plain_size.
  Status Decode(const RandomAccessFile& file, std::span<std::byte> out);

  // Decoded bytes given so far.
  uint64_t position() const;
  // What this decoder holds in memory, in bytes.
  uint64_t memory_bytes() const;
  // Empty if this decoder has no restart points, as the decoders of the legacy formats.
  std::span<std::byte> dictionary();
  // REQUIRES: dictionary() isn't empty; the last call of Decode succeeded.
  DecoderMark Mark() const;
  // The dictionary of a mark at position 0 need not be put back. REQUIRES: this decoder made
  // `mark`; dictionary() holds what it held then.
  void Restore(const DecoderMark& mark);
  // Frees the memory of the dictionary and of the input, if it has restart points. REQUIRES: one is
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
