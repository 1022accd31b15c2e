#include "xz/block_name.h"

namespace xzfs {

std::string NameOfPlace(uint64_t plain_begin, std::optional<uint64_t> plain_end,
                        uint64_t file_offset) {
  return "plain bytes " + std::to_string(plain_begin) + "-" +
         (plain_end ? std::to_string(*plain_end) : "?") + ", file offset " +
         std::to_string(file_offset);
}

std::string NameOf(const BlockInfo& block) {
  return "Block " + std::to_string(block.number) + " (" +
         NameOfPlace(block.plain_offset, block.plain_offset + block.plain_size,
                     block.compressed_offset) +
         ")";
}

}  // namespace xzfs
