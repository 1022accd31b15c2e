// The compressed files whose Index is in memory.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>

#include "base/identity.h"
#include "base/mutex.h"
#include "base/stats.h"
#include "cache/block_cache.h"
#include "cache/slice_decoder.h"
#include "cache/xz_file.h"
#include "xzfs/random_access_file.h"

namespace xzfs {

// Finds the XzFile of a stored file's version, reading its Index if it isn't known. Keeps the most
// recently used ones, up to an eighth of the budget; an open file that was dropped is read again at
// its next read. Thread-safe.
class XzFileTable {
 public:
  XzFileTable(BlockCache& cache, SliceDecoder& slices, Stats& stats);

  // `stored` has the content that `identity` names. `name` is for the log.
  // Errors: as BlockIndex::Read; they are not kept. Blocks.
  Result<std::shared_ptr<const XzFile>> Get(const Identity& identity, Format format,
                                            const RandomAccessFile& stored,
                                            const std::function<std::string()>& name)
      EXCLUDES(mutex_);

  // The same if it is known, otherwise null.
  std::shared_ptr<const XzFile> Find(const Identity& identity, Format format) EXCLUDES(mutex_);

 private:
  struct Key {
    Identity identity;
    Format format;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    size_t operator()(const Key& key) const { return IdentityHash()(key.identity); }
  };
  struct Entry {
    Key key;
    std::shared_ptr<const XzFile> file;
    size_t bytes;
  };

  BlockCache& cache_;
  SliceDecoder& slices_;
  Stats& stats_;
  const size_t capacity_bytes_;
  const BlockIndex::Limits limits_;
  Mutex mutex_;
  uint64_t next_id_ GUARDED_BY(mutex_) = 1;
  size_t bytes_ GUARDED_BY(mutex_) = 0;
  std::list<Entry> files_ GUARDED_BY(mutex_);  // most recently used first
  std::unordered_map<Key, std::list<Entry>::iterator, KeyHash> by_key_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
