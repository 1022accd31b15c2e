// One version of one compressed file, as far as all its readers share it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "base/memory_budget.h"
#include "xzfs/block_index.h"

namespace xzfs {

// The Index of a compressed file and its number in the cache. It holds no descriptor: readers bring
// the stored file. Immutable.
class XzFile {
 public:
  // `id` is never used for another version. `name` is for the log.
  XzFile(uint64_t id, std::string name, BlockIndex index, MemoryCharge charge)
      : id_(id), name_(std::move(name)), index_(std::move(index)), charge_(std::move(charge)) {}

  uint64_t id() const { return id_; }
  const std::string& name() const { return name_; }
  const BlockIndex& index() const { return index_; }
  // What this object holds in memory, in bytes.
  size_t charged_bytes() const { return charge_.bytes(); }

 private:
  const uint64_t id_;
  const std::string name_;
  const BlockIndex index_;
  const MemoryCharge charge_;
};

}  // namespace xzfs
