// Builds compressed files in tests, with everything that the formats allow and some things that
// they don't.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "xzfs/check.h"

namespace xzfs {

// Check IDs, as BlockInfo::check.
inline constexpr Check kCheckNone = Check::kNone;
inline constexpr Check kCheckCrc32 = Check::kCrc32;
inline constexpr Check kCheckCrc64 = Check::kCrc64;
inline constexpr Check kCheckSha256 = Check::kSha256;

// Builds the bytes of a .xz file: Streams one after another, each of Blocks. Throws
// std::runtime_error when liblzma refuses something, which fails the test.
class XzBuilder {
 public:
  struct Block {
    // In the syntax of xz's --filters.
    std::string filters = "lzma2:preset=1,dict=64KiB";
    // If not empty: the filters that the Block Header claims instead, for a header that asks for
    // more.
    std::string header_filters = {};
    bool sizes_in_header = false;
    // If set: the plain size that the Block Header says instead of the truth.
    std::optional<uint64_t> header_plain_size = {};
    // If set: the sizes that the Index claims instead of the truth.
    std::optional<uint64_t> recorded_plain_size = {};
    std::optional<uint64_t> recorded_unpadded_size = {};
  };

  XzBuilder& BeginStream(Check check = kCheckCrc64);
  XzBuilder& AddBlock(std::string_view plain);
  XzBuilder& AddBlock(std::string_view plain, const Block& how);
  // Adds a Record to the Index without a Block.
  XzBuilder& AddRecordOnly(uint64_t unpadded_size, uint64_t plain_size);
  XzBuilder& EndStream() { return EndStream(0); }
  // EndStream with zeros between Index and Footer that the Footer counts as part of the Index.
  XzBuilder& EndStream(size_t slack_bytes);
  // EndStream with an Index that claims this many Records and has none; its CRC32 is right.
  XzBuilder& EndStreamClaiming(uint64_t record_count);
  // `bytes` zeros.
  XzBuilder& AddPadding(size_t bytes);

  // A Stream of `plain` in Blocks of `block_bytes`.
  XzBuilder& AddStream(std::string_view plain, size_t block_bytes, Check check = kCheckCrc64);
  XzBuilder& AddStream(std::string_view plain, size_t block_bytes, Check check, const Block& how);

  // Offsets of the Block Headers so far, and of the end of each Block with its padding.
  const std::vector<uint64_t>& block_offsets() const { return block_offsets_; }
  const std::vector<uint64_t>& block_ends() const { return block_ends_; }
  // The plain bytes of all Blocks so far.
  const std::string& plain() const { return plain_; }
  const std::string& bytes() const { return bytes_; }

 private:
  struct Record {
    uint64_t unpadded_size;
    uint64_t plain_size;
  };

  void AppendFooter(uint64_t index_size);

  std::string bytes_;
  std::string plain_;
  std::vector<uint64_t> block_offsets_;
  std::vector<uint64_t> block_ends_;
  std::vector<Record> records_;  // of the Stream being built
  Check check_ = Check::kNone;
};

// `plain` in one Stream of Blocks of `block_bytes`.
std::string MakeXz(std::string_view plain, size_t block_bytes, Check check = kCheckCrc64);

// A .lzma file. With `size_in_header` the size is there beside the end marker.
std::string MakeLzmaAlone(std::string_view plain, bool size_in_header);

// One member of a .lz file of version 1 or 0. `dict_code` is the header's coded dictionary size;
// 0x10 is 64 KiB, as the data is compressed for.
std::string MakeLzipMember(std::string_view plain, int version = 1, uint8_t dict_code = 0x10);

// `size` bytes that depend on `seed` and compress about 3:1.
std::string SomeText(size_t size, uint32_t seed = 1);
// `size` bytes that do not compress.
std::string SomeNoise(size_t size, uint32_t seed = 1);

}  // namespace xzfs
