#include "cache/unit.h"

#include <utility>

namespace xzfs {
namespace {

// Smaller units are left to malloc: a page for each would waste more than it saves.
constexpr size_t kLeastPagedBytes = size_t{64} << 10;

}  // namespace

Unit::Unit(std::shared_ptr<PagePool> pool, size_t size, MemoryCharge charge)
    : pool_(size >= kLeastPagedBytes ? std::move(pool) : nullptr),
      small_(pool_ != nullptr ? nullptr : std::make_unique_for_overwrite<std::byte[]>(size)),
      bytes_(pool_ != nullptr ? pool_->Allocate(size) : small_.get()),
      size_(size),
      charge_(std::move(charge)) {}

Unit::~Unit() {
  if (pool_ != nullptr) {
    pool_->Free(bytes_, size_);
  }
}

}  // namespace xzfs
