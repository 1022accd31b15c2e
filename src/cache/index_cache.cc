// Reading an Index needs memory that is known only afterwards, so it can't be reserved. Files that
// are large enough to hold a large Index are read by a few threads at once, each within the limit.
// A legacy file may have to be decoded as a whole for its size: one at a time, so that a folder
// full of them costs one core.
#include "cache/index_cache.h"

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <new>
#include <optional>
#include <utility>

#include "base/try.h"

namespace xzfs {
namespace {

// Beside the Index and the name: the object, the table's nodes.
constexpr size_t kBytesPerFile = 512;

// 64 MiB is the Index of a 1.5 TiB file of 1 MiB Blocks; a small cache_size must not refuse it.
constexpr uint64_t kLeastIndexLimit = uint64_t{64} << 20;

// A decoder of `xz --format=lzma -9`, with its 64 MiB dictionary.
constexpr uint64_t kLeastLegacyLimit = uint64_t{96} << 20;

// An Index takes up to 20 times the bytes in memory that it takes in the file (two bytes a Record).
constexpr uint64_t kLargeFileBytes = 64 << 10;
constexpr unsigned kLargeReads = 4;

// Reading the Index of 700 Blocks again takes one read of 4 KiB and less than 0.1 ms.
constexpr uint64_t kCheapIndexBytes = 16 << 10;

// A legacy file may have to be decoded as a whole.
bool IsExpensive(const LoadedIndex& loaded) {
  return loaded.index().format() != Format::kXz || loaded.index().memory_bytes() > kCheapIndexBytes;
}

// `id`: 0 if any will do.
LoadedIndexPtr WithId(const LoadedIndexPtr& loaded, uint64_t id) {
  return id == 0 || loaded->id() == id ? loaded : std::make_shared<const LoadedIndex>(id, *loaded);
}

}  // namespace

IndexCache::IndexCache(MemoryBudget& budget, std::optional<uint64_t> memory_limit_bytes)
    : budget_(budget),
      limits_{.memory_limit_bytes = memory_limit_bytes.value_or(
                  std::max<uint64_t>(kLeastIndexLimit, budget.total() / 4))},
      legacy_limits_{.memory_limit_bytes = memory_limit_bytes.value_or(
                         std::max(limits_.memory_limit_bytes, kLeastLegacyLimit))},
      large_reads_(kLargeReads),
      legacy_reads_(1) {}

Result<LoadedIndexPtr> IndexCache::Get(const Identity& identity, Format format, uint64_t id,
                                       const RandomAccessFile& stored,
                                       const std::function<std::string()>& name) {
  return Get(identity, format, id, stored, name, Keep::kAlways);
}

Result<LoadedIndexPtr> IndexCache::Look(const Identity& identity, Format format,
                                        const RandomAccessFile& stored,
                                        const std::function<std::string()>& name) {
  return Get(identity, format, 0, stored, name, Keep::kIfExpensive);
}

Result<LoadedIndexPtr> IndexCache::Get(const Identity& identity, Format format, uint64_t id,
                                       const RandomAccessFile& stored,
                                       const std::function<std::string()>& name, Keep keep) {
  const Key key{identity, format};
  std::shared_ptr<Flight> flight;
  {
    MutexLock lock(mutex_);
    if (const auto it = by_key_.find(key); it != by_key_.end()) {
      indexes_.splice(indexes_.begin(), indexes_, it->second);
      return WithId(it->second->loaded, id);
    }
    if (const auto it = flights_.find(key); it != flights_.end()) {
      flight = it->second;
      while (!flight->done) {
        flight->finished.Wait(mutex_);
      }
      return flight->result ? Result<LoadedIndexPtr>(WithId(*flight->result, id)) : flight->result;
    }
    flight = std::make_shared<Flight>();
    flights_.emplace(key, flight);
  }
  Result<LoadedIndexPtr> result = nullptr;
  try {
    result = Read(format, id != 0 ? id : NewId(), stored, name);
  } catch (const std::bad_alloc&) {
    // The flight must end, or the readers that wait for it would hang.
    result = Fail(ENOMEM, "out of memory while reading an Index");
  }
  std::list<Entry> dropped;  // freed after the lock is released
  MutexLock lock(mutex_);
  flight->result = result;
  flight->done = true;
  flights_.erase(key);
  flight->finished.NotifyAll();
  if (result && (keep == Keep::kAlways || IsExpensive(**result))) {
    Add(key, *result, dropped);
  }
  return result;
}

Result<LoadedIndexPtr> IndexCache::Read(Format format, uint64_t id, const RandomAccessFile& stored,
                                        const std::function<std::string()>& name) {
  std::optional<Turns::Hold> turn;
  if (format != Format::kXz) {
    turn.emplace(legacy_reads_, Turns::Priority::kHigh);
  } else if (stored.size() > kLargeFileBytes) {
    turn.emplace(large_reads_, Turns::Priority::kHigh);
  }
  const BlockIndexOptions& limits = format == Format::kXz ? limits_ : legacy_limits_;
  XZFS_ASSIGN_OR_RETURN(BlockIndex index, BlockIndex::Read(stored, format, limits));
  std::string log_name = name();
  const size_t bytes = index.memory_bytes() + log_name.capacity() + kBytesPerFile;
  MemoryCharge charge = budget_.Reserve(bytes);
  return std::make_shared<const LoadedIndex>(id, std::move(log_name), std::move(index),
                                             std::move(charge));
}

void IndexCache::Drop(const Identity& identity, Format format) {
  std::list<Entry> dropped;  // freed after the lock is released
  MutexLock lock(mutex_);
  if (const auto it = by_key_.find(Key{identity, format}); it != by_key_.end()) {
    bytes_ -= it->second->bytes;
    dropped.splice(dropped.end(), indexes_, it->second);
    by_key_.erase(it);
  }
}

void IndexCache::Add(const Key& key, const LoadedIndexPtr& loaded, std::list<Entry>& dropped) {
  indexes_.push_front(Entry{key, loaded, loaded->charged_bytes()});
  by_key_.emplace(key, indexes_.begin());
  bytes_ += indexes_.front().bytes;
  while (bytes_ > budget_.total() / 8 && indexes_.size() > 1) {
    const auto oldest = std::prev(indexes_.end());
    bytes_ -= oldest->bytes;
    by_key_.erase(oldest->key);
    dropped.splice(dropped.end(), indexes_, oldest);
  }
}

}  // namespace xzfs
