// A medium that gives other bytes at first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "support/mem_file.h"
#include "support/xz_builder.h"

namespace xzfs {

// A medium with a wrong byte in its only Block, until the Block was read from its begin `begins`
// times.
class FlakyFile : public MemFile {
 public:
  FlakyFile(const XzBuilder& builder, uint64_t wrong_byte, int begins = 1)
      : MemFile(builder.bytes()),
        begin_(builder.block_offsets()[0]),
        wrong_byte_(wrong_byte),
        wrong_begins_(begins) {}

  Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) const override {
    const Result<size_t> count = MemFile::ReadAt(offset, out);
    begins_ += offset == begin_ ? 1 : 0;
    if (begins_ <= wrong_begins_ && offset <= wrong_byte_ && wrong_byte_ < offset + out.size()) {
      out[wrong_byte_ - offset] ^= std::byte{0x10};
    }
    return count;
  }

 private:
  const uint64_t begin_;
  const uint64_t wrong_byte_;
  const int wrong_begins_;
  mutable int begins_ = 0;
};

}  // namespace xzfs
