// Which pairs of stored files `N` and `N.xz` are one file between two steps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>

#include "base/mutex.h"
#include "base/os.h"
#include "store/claims.h"
#include "store/descriptor_cache.h"
#include "store/session.h"
#include "xzfs/result.h"

namespace xzfs {

// Thread-safe.
class TwinRecords {
 public:
  virtual ~TwinRecords() = default;
  // A record of ours names both. Blocks.
  virtual bool AreTwins(const FileFacts& plain, const FileFacts& compressed) = 0;
  // Before the plain file `plain` changes or goes, and `compressed` beside it would come to light:
  // that is removed if they are twins and nobody is at work with them any more. One that somebody
  // is just making from the plain file is left to them. Returns whether it was removed.
  // Errors: what the system said. Blocks, also on `.xzfs/lock`.
  virtual Result<bool> RemoveHidden(int dir, const std::string& plain,
                                    const std::string& compressed) = 0;
};

// Those of all sessions of one `.xzfs/`: our own in memory first; those of others, living or dead,
// are read from the disk when two files meet of which it isn't known yet that nobody claims them.
// Thread-safe.
class SourceTwins : public TwinRecords {
 public:
  // The directory that `.xzfs/` is in, open; null: it isn't there any more.
  using OpenTop = std::function<DescriptorPtr()>;
  // `is_root`: it is the source's own root. What is given outlives it.
  SourceTwins(Os& os, OpenTop open_top, bool is_root)
      : os_(os), open_top_(std::move(open_top)), is_root_(is_root) {}

  void SetOwn(std::shared_ptr<Session> session) EXCLUDES(mutex_);
  bool AreTwins(const FileFacts& plain, const FileFacts& compressed) override EXCLUDES(mutex_);
  Result<bool> RemoveHidden(int dir, const std::string& plain,
                            const std::string& compressed) override EXCLUDES(mutex_);

 private:
  struct Found {
    Claim claim;
    std::string session;  // of another process
    std::shared_ptr<Session> own;
    uint64_t id = 0;  // in `own`
    bool at_work = false;
  };
  std::optional<Found> Find(const FileFacts& plain, const FileFacts& compressed) EXCLUDES(mutex_);
  std::optional<Found> FindOnDisk(const std::string& own, const FileFacts& plain,
                                  const FileFacts& compressed, bool& saw_all);
  Result<bool> Remove(int dir, const std::string& plain, const std::string& compressed,
                      const Claim& claim);

  Os& os_;
  const OpenTop open_top_;
  const bool is_root_;
  Mutex mutex_;
  std::shared_ptr<Session> own_ GUARDED_BY(mutex_);  // null: there is none yet
  // Pairs that no claim names: one would have to be there before they were a pair.
  std::unordered_set<size_t> foreign_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
