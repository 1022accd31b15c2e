// The Indexes that are in memory.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/identity.h"
#include "base/memory_budget.h"
#include "base/mutex.h"
#include "base/turns.h"
#include "cache/loaded_index.h"
#include "xzfs/random_access_file.h"

namespace xzfs {

// Finds the Index of a stored file's version, and reads it if it isn't here. Keeps the most
// recently used ones, up to an eighth of the budget. If the Index of an open file was dropped, the
// next read reads it again. Thread-safe.
class IndexCache {
 public:
  // Reading one Index, and decoding a legacy file for its size, takes at most `memory_limit_bytes`.
  // Unset: the larger of 64 MiB and a quarter of the budget, for a legacy file at least 96 MiB.
  explicit IndexCache(MemoryBudget& budget, std::optional<uint64_t> memory_limit_bytes = {});

  // `stored` has the content that `identity` names. `id` is the one by which the caller knows the
  // version: what this returns has it, so that what is cached of the version is found again. 0 if
  // the caller knows none. `name` is for the log. Several callers for one version read it once.
  // Errors: as BlockIndex::Read; they are not kept. Blocks.
  Result<LoadedIndexPtr> Get(const Identity& identity, Format format, uint64_t id,
                             const RandomAccessFile& stored,
                             const std::function<std::string()>& name) EXCLUDES(mutex_);

  // The same for a version that is only looked at, not read yet. Its Index is kept only if reading
  // it again would be expensive.
  Result<LoadedIndexPtr> Look(const Identity& identity, Format format,
                              const RandomAccessFile& stored,
                              const std::function<std::string()>& name) EXCLUDES(mutex_);

  // Drops the Index of a version that no reader will ask for again.
  void Drop(const Identity& identity, Format format) EXCLUDES(mutex_);

  // A LoadedIndex::id for a version whose Index was read without this cache.
  uint64_t NewId() { return next_id_.fetch_add(1, std::memory_order_relaxed); }

 private:
  enum class Keep { kAlways, kIfExpensive };
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
    LoadedIndexPtr loaded;
    size_t bytes;
  };
  // One Index being read.
  struct Flight {
    bool done = false;
    Result<LoadedIndexPtr> result = nullptr;
    CondVar finished;
  };

  Result<LoadedIndexPtr> Get(const Identity& identity, Format format, uint64_t id,
                             const RandomAccessFile& stored,
                             const std::function<std::string()>& name, Keep keep) EXCLUDES(mutex_);
  Result<LoadedIndexPtr> Read(Format format, uint64_t id, const RandomAccessFile& stored,
                              const std::function<std::string()>& name) EXCLUDES(mutex_);
  void Add(const Key& key, const LoadedIndexPtr& loaded, std::list<Entry>& dropped)
      REQUIRES(mutex_);

  MemoryBudget& budget_;
  const BlockIndexOptions limits_;
  const BlockIndexOptions legacy_limits_;
  Turns large_reads_;
  Turns legacy_reads_;
  std::atomic<uint64_t> next_id_{1};  // guards nothing
  Mutex mutex_;
  size_t bytes_ GUARDED_BY(mutex_) = 0;
  std::list<Entry> indexes_ GUARDED_BY(mutex_);  // most recently used first
  std::unordered_map<Key, std::list<Entry>::iterator, KeyHash> by_key_ GUARDED_BY(mutex_);
  std::unordered_map<Key, std::shared_ptr<Flight>, KeyHash> flights_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
