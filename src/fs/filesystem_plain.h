// What the sources of Filesystem that change plain files share.
#pragma once

#include <linux/falloc.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "fs/filesystem.h"
#include "xz/format.h"

namespace xzfs {

struct Filesystem::Writable {
  NodePtr node;
  DescriptorPtr hot;                 // of a plain file, or
  std::shared_ptr<Overlay> overlay;  // of a compressed one
  int keeps_name;                    // FileState::keeps_name
  Changing counted;
};

// How a plain file begins, as far as that tells its format, and its size. Changed as the file is
// about to be.
struct Filesystem::Head {
  std::vector<std::byte> bytes;
  uint64_t size = 0;

  void Resize(uint64_t new_size) {
    size = new_size;
    bytes.resize(std::min<uint64_t>(size, kFormatProbeBytes));
  }
  void Put(uint64_t offset, std::span<const std::byte> content) {
    if (!content.empty()) {
      Resize(std::max<uint64_t>(size, offset + content.size()));
    }
    for (uint64_t at = offset; at < bytes.size() && at - offset < content.size(); ++at) {
      bytes[at] = content[at - offset];
    }
  }
  void Allocate(int mode, uint64_t offset, uint64_t length) {
    if ((mode & FALLOC_FL_KEEP_SIZE) == 0) {
      Resize(std::max<uint64_t>(size, offset + length));
    }
    const bool zeros = (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0;
    for (uint64_t at = offset; zeros && at < bytes.size() && at - offset < length; ++at) {
      bytes[at] = std::byte{0};
    }
  }
};

}  // namespace xzfs
