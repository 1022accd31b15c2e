// Where a unit is.
#pragma once

#include <cstdint>

#include "xzfs/block_index.h"

namespace xzfs {

// A unit of a file: a Block, or a slice of a giant one.
struct UnitRange {
  BlockInfo block;
  uint64_t begin = 0;  // in the logical file
  uint64_t end = 0;
  bool giant = false;
  uint64_t slice = 0;  // of a giant Block: from 0
};

}  // namespace xzfs
