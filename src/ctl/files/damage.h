// Damage of a compressed file, as the user is told of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "xzfs/block_index.h"
#include "xzfs/random_access_file.h"
#include "xzfs/result.h"

namespace xzfs {

// What is stored is wrong. Other errors tell nothing of it.
bool IsDamage(const Error& error);

// "Block 3, bytes 3145728 to 4194304": which are those of the logical file.
std::string NameOf(const BlockInfo& block);

// `error`, which was met in decoding `block`, with the Block's name and what the user can do.
Error DamageIn(const BlockInfo& block, Error error);
// `error`, which was met in reading the Index of a file of `format`, with what the user can do.
Error DamageOfIndex(Format format, Error error);

// The logical file, where errors of decoding are named by DamageIn. Thread-safe.
class BlockNamingFile : public RandomAccessFile {
 public:
  // Both outlive it. Reading a damaged part of `file` again costs nothing.
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
