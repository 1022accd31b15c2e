#include "cache/xz_file_table.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace xzfs {
namespace {

// Beside the Index itself: the object, its name, the table's nodes.
constexpr size_t kBytesPerFile = 512;

// 64 MiB is the Index of a 1.5 TiB file of 1 MiB Blocks; a small cache_size must not refuse it.
constexpr uint64_t kLeastIndexLimit = uint64_t{64} << 20;

}  // namespace

XzFileTable::XzFileTable(BlockCache& cache, SliceDecoder& slices, Stats& stats)
    : cache_(cache),
      slices_(slices),
      stats_(stats),
      capacity_bytes_(cache.budget().total() / 8),
      limits_{.memory_bytes = std::max<uint64_t>(kLeastIndexLimit, cache.budget().total() / 4)} {}

std::shared_ptr<const XzFile> XzFileTable::Find(const Identity& identity, Format format) {
  MutexLock lock(mutex_);
  const auto it = by_key_.find({identity, format});
  if (it == by_key_.end()) {
    return nullptr;
  }
  files_.splice(files_.begin(), files_, it->second);
  return it->second->file;
}

Result<std::shared_ptr<const XzFile>> XzFileTable::Get(const Identity& identity, Format format,
                                                       const RandomAccessFile& stored,
                                                       const std::function<std::string()>& name) {
  if (auto known = Find(identity, format)) {
    return known;
  }
  XZFS_ASSIGN_OR_RETURN(BlockIndex index, BlockIndex::Read(stored, format, limits_));
  const size_t bytes = index.memory_bytes() + kBytesPerFile;
  MemoryCharge charge = cache_.Reserve(bytes);
  const std::string log_name = name();

  std::list<Entry> dropped;  // freed after the lock is released
  std::shared_ptr<const XzFile> file;
  {
    MutexLock lock(mutex_);
    const Key key{identity, format};
    if (const auto it = by_key_.find(key); it != by_key_.end()) {
      return it->second->file;  // somebody else was faster
    }
    file =
        std::make_shared<XzFile>(next_id_++, log_name, std::move(index), std::move(charge), stats_);
    files_.push_front(Entry{key, file, bytes});
    by_key_.emplace(key, files_.begin());
    bytes_ += bytes;
    while (bytes_ > capacity_bytes_ && files_.size() > 1) {
      const auto oldest = std::prev(files_.end());
      bytes_ -= oldest->bytes;
      by_key_.erase(oldest->key);
      dropped.splice(dropped.end(), files_, oldest);
    }
  }
  for (const Entry& entry : dropped) {
    slices_.Forget(entry.file->id());
  }
  return file;
}

}  // namespace xzfs
