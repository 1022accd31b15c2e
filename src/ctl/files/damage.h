// How damage of a compressed file is reported to the user.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "xzfs/block_index.h"
#include "xzfs/random_access_file.h"
#include "xzfs/result.h"

namespace xzfs {

// Whether the stored bytes are wrong. Other errors say nothing about them.
bool IsDamage(const Error& error);

// `error` of decoding `block`, with the Block's name and what the user can do.
Error DamageIn(const BlockInfo& block, Error error);
// `error` of reading the Index of a file of `format`, with what the user can do.
Error DamageOfIndex(Format format, Error error);

// The logical file; its decoding errors say what DamageIn says. Thread-safe.
class BlockNamingFile : public RandomAccessFile {
 public:
  // Both outlive it. `file` remembers damage, so reading a damaged part again costs nothing.
  BlockNamingFile(const RandomAccessFile& file, const BlockIndex& index)
      : file_(file), index_(index) {}

  Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) const override;
  uint64_t size() const override { return file_.size(); }
  void WillRead(uint64_t offset, uint64_t length) const override { file_.WillRead(offset, length); }

 private:
  const RandomAccessFile& file_;
  const BlockIndex& index_;
};

}  // namespace xzfs
