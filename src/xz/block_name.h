// How messages name a Block and its place.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "xzfs/block_index.h"

namespace xzfs {

// "plain bytes 196608-262144, file offset 50760"; "plain bytes 196608-?, ..." without an end.
std::string NameOfPlace(uint64_t plain_begin, std::optional<uint64_t> plain_end,
                        uint64_t file_offset);

// "Block 3 (plain bytes 196608-262144, file offset 50760)".
std::string NameOf(const BlockInfo& block);

}  // namespace xzfs
