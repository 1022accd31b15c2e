// Whatever a file contains, BlockIndex::Read gives an error or an index whose promises hold.
#include <cerrno>

#include "fuzz/fuzz_input.h"
#include "support/mem_file.h"

namespace xzfs {
namespace {

constexpr uint64_t kMemoryLimit = uint64_t{1} << 20;

void CheckBlock(const BlockIndex& index, const BlockInfo& block, uint64_t file_size) {
  Require(block.compressed_offset <= file_size, "a Block begins inside the file");
  Require(block.unpadded_size <= file_size - block.compressed_offset,
          "a Block ends inside the file");
  Require(block.plain_size <= index.largest_block(), "largest_block() is the largest");
  if (block.plain_size > 0) {
    Require(index.Find(block.plain_offset).number == block.number, "Find of a Block's first byte");
    Require(index.Find(block.plain_offset + block.plain_size - 1).number == block.number,
            "Find of a Block's last byte");
    Require(index.Find(block.plain_offset + block.plain_size / 2).number == block.number,
            "Find of a byte inside a Block");
  }
}

void CheckIndex(const BlockIndex& index, uint64_t file_size) {
  Require(index.plain_size() <= INT64_MAX, "the plain size is a file offset");
  Require(index.memory_bytes() <= kMemoryLimit, "the memory limit");
  uint64_t plain_end = 0;
  uint64_t compressed_end = 0;
  for (uint64_t number = 0; number < index.block_count(); ++number) {
    const BlockInfo block = index.Block(number);
    Require(block.number == number, "numbers");
    Require(block.plain_offset == plain_end, "plain ranges follow one another");
    Require(block.compressed_offset >= compressed_end, "stored ranges do not overlap");
    Require(static_cast<uint8_t>(block.check) <= kLargestCheckId, "Check IDs");
    CheckBlock(index, block, file_size);
    plain_end = block.plain_offset + block.plain_size;
    compressed_end = block.compressed_offset + block.unpadded_size;
  }
  Require(plain_end == index.plain_size(), "Blocks add up to the plain size");
}

}  // namespace
}  // namespace xzfs

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::optional<xzfs::FuzzInput> input = xzfs::ParseFuzzInput(data, size);
  if (!input) {
    return 0;
  }
  const xzfs::MemFile file(input->file);
  const xzfs::Result<xzfs::BlockIndex> index =
      xzfs::BlockIndex::Read(file, input->format, {.memory_limit_bytes = xzfs::kMemoryLimit});
  if (index) {
    xzfs::CheckIndex(*index, file.size());
  } else {
    xzfs::Require(index.error().code == EIO || index.error().code == EFBIG, "EIO or EFBIG");
    xzfs::Require(!index.error().message.empty(), "a reason is given");
  }
  for (const xzfs::MemFile::Access& access : file.accesses()) {
    xzfs::Require(access.offset <= file.size() && access.size <= uint64_t{16} << 20,
                  "reads are bounded");
  }
  return 0;
}
