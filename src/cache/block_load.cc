#include "cache/block_load.h"

#include <utility>

#include "base/try.h"
#include "cache/read_engine.h"

namespace xzfs {

BlockLoad::BlockLoad(ReadEngine& engine, LoadedIndexPtr loaded,
                     std::shared_ptr<const RandomAccessFile> stored, const BlockInfo& block)
    : engine_(engine),
      loaded_(std::move(loaded)),
      stored_(std::move(stored)),
      block_(block),
      unit_(engine.cache.NewUnit(block.plain_size)) {}

Status BlockLoad::DecodeTo(size_t end) {
  if (Status status = Decode(end); !status) {
    return Failure(
        engine_.damage.Add(loaded_->id(), loaded_->name(), block_, 0, std::move(status.error())));
  }
  return {};
}

Status BlockLoad::Decode(size_t end) {
  if (decoder_ == nullptr) {
    XZFS_ASSIGN_OR_RETURN(
        decoder_,
        BlockDecoder::Open(*stored_, loaded_->index(), block_, engine_.decoder_limit,
                           engine_.arenas.Take(), engine_.damage.ChoiceFor(loaded_->id(), block_)));
    charge_ = engine_.budget.Reserve(decoder_->memory_bytes());
  }
  Status status = decoder_->DecodeInto(*stored_, unit_->mutable_bytes(), end);
  engine_.damage.AddVerdict(loaded_->id(), loaded_->name(), block_, decoder_->TakeVerdict());
  XZFS_RETURN_IF_ERROR(std::move(status));
  ready_bytes_ = end;
  if (ready_bytes_ == size()) {
    engine_.arenas.Give(decoder_->TakeArena());
    charge_ = MemoryCharge();
    engine_.stats.decoded_bytes.Add(size());
  }
  return {};
}

}  // namespace xzfs
