// The Index of one version of a compressed file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "base/memory_budget.h"
#include "xzfs/block_index.h"

namespace xzfs {

// An Index, and the number under which the caches know its version. Immutable. Readers bring the
// stored file.
class LoadedIndex {
 public:
  // `id` is never used for another version. `name` is for the log.
  LoadedIndex(uint64_t id, std::string name, BlockIndex index, MemoryCharge charge)
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
using LoadedIndexPtr = std::shared_ptr<const LoadedIndex>;

}  // namespace xzfs
