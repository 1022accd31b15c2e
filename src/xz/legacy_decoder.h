// Decodes .lzma and .lz data, to read it and to learn its size.
#pragma once

#include <cstdint>
#include <span>

#include "xz/lzma_util.h"
#include "xzfs/block_index.h"

namespace xzfs {

// Where a .lz header has its version and its coded dictionary size.
inline constexpr size_t kLzipVersionOffset = 4;
inline constexpr size_t kLzipDictOffset = 5;

// The dictionary size in a .lz header, 2^n - f * 2^(n-4); 0 if the format does not allow it.
uint32_t LzipDict(uint8_t code);

inline constexpr uint64_t kLzmaAloneHeaderBytes = 13;
inline constexpr uint64_t kLzipHeaderBytes = 6;
inline constexpr uint64_t kLzipTrailerBytes = 20;  // of version 1

// Decodes a whole .lzma file, or one or more members of a .lz file. Not thread-safe.
//
// liblzma takes the dictionary's size from the header. So headers are changed in the input buffer,
// and ask for no more than is useful. A dictionary as large as the data is as good as any larger
// one. With a smaller one data that refers farther back fails; it never gives wrong bytes.
class LegacyDecoder : public StepDecoder {
 public:
  struct Options {
    Format format = Format::kLzip;
    uint64_t offset = 0;  // of the compressed data in the file
    uint64_t size = 0;    // of the compressed data
    // The data is not larger than this: no dictionary needs to be.
    uint64_t largest_plain_bytes = UINT64_MAX;
    uint64_t memory_limit_bytes = UINT64_MAX;
    // Decodes with the largest dictionary that the limit allows, instead of failing.
    bool cut_dictionary_to_limit = false;
    // .lz: what follows the last member is ignored, as the format wants, unless it begins as a
    // member does.
    bool trailing_data_allowed = true;
    // .lz: the data is one member. Sizes in trailers have no checksum. If they are wrong, another
    // member may follow, whose dictionary was not counted.
    bool one_member = false;
  };

  explicit LegacyDecoder(const Options& options);

  // Reads the first header. Call it before Run. EFBIG if decoding needs more than the limit.
  Status Start(const RandomAccessFile& file);
  Result<Progress> Run(const RandomAccessFile& file, std::span<std::byte> out) override;
  uint64_t memory_bytes() const override;

  // How many members were begun; 1 for .lzma.
  uint64_t member_count() const { return member_count_; }
  // The dictionary that the limit left; UINT64_MAX if no header asked for more than it got.
  uint64_t cut_dictionary_bytes() const { return cut_dictionary_bytes_; }

  // The most that a decoder with these options allocates for data that begins with `head` (its
  // first kFormatProbeBytes, or fewer if it is shorter). With `many_members` later headers may ask
  // for more than the first.
  static uint64_t MemoryFor(const Options& options, std::span<const uint8_t> head,
                            bool many_members);

 private:
  // False if there is no further member.
  Result<bool> StartNext(const RandomAccessFile& file);
  Status StartLzmaAlone(const RandomAccessFile& file);
  Result<bool> StartMember(const RandomAccessFile& file);
  // The dictionary to use for a header that asks for `asked_bytes`, of which `coder_bytes` is what
  // a coder needs beside it. EFBIG if that exceeds the limit.
  Result<uint32_t> ChooseDictionary(uint32_t asked_bytes, uint64_t coder_bytes);

  const Options options_;
  CompressedInput input_;
  LzmaStream stream_;
  bool coding_ = false;  // stream_ holds a coder that has not ended
  uint64_t cut_dictionary_bytes_ = UINT64_MAX;
  uint64_t member_count_ = 0;
  uint64_t coder_bytes_ = 0;  // with its dictionary
};

}  // namespace xzfs
