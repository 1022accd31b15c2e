// The Index of one version of a compressed file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "base/memory_budget.h"
#include "xzfs/block_index.h"

namespace xzfs {

// An Index, and the number under which the caches know its version. Immutable. It doesn't hold the
// stored file: a reader brings that.
class LoadedIndex {
 public:
  // `id` is never used for another version. `name` is for the log.
  LoadedIndex(uint64_t id, std::string name, BlockIndex index, MemoryCharge charge)
      : id_(id),
        content_(std::make_shared<const Content>(
            Content{std::move(name), std::move(index), std::move(charge)})) {}
  // The same Index, once in memory, under another id of its version.
  LoadedIndex(uint64_t id, const LoadedIndex& other) : id_(id), content_(other.content_) {}

  uint64_t id() const { return id_; }
  const std::string& name() const { return content_->name; }
  const BlockIndex& index() const { return content_->index; }
  // What the Index and the name hold in memory, in bytes.
  size_t charged_bytes() const { return content_->charge.bytes(); }

 private:
  struct Content {
    std::string name;
    BlockIndex index;
    MemoryCharge charge;
  };

  const uint64_t id_;
  const std::shared_ptr<const Content> content_;
};
using LoadedIndexPtr = std::shared_ptr<const LoadedIndex>;

}  // namespace xzfs
