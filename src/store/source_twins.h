// Which pairs of stored files `N` and `N.xz` are one file between two steps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>

#include "base/mutex.h"
#include "base/os.h"
#include "store/claims.h"
#include "store/session.h"
#include "xzfs/result.h"

namespace xzfs {

// Thread-safe.
class TwinRecords {
 public:
  virtual ~TwinRecords() = default;
  // A record of ours names both. Blocks.
  virtual bool AreTwins(const FileFacts& plain, const FileFacts& compressed) = 0;
};

// Those of all sessions of a source: our own in memory first; those of others, living or dead, are
// read from the disk when two files meet of which it isn't known yet that nobody claims them.
// Thread-safe.
class SourceTwins : public TwinRecords {
 public:
  // Both outlive it.
  SourceTwins(Os& os, int source) : os_(os), source_(source) {}

  void SetOwn(std::shared_ptr<Session> session) EXCLUDES(mutex_);
  bool AreTwins(const FileFacts& plain, const FileFacts& compressed) override EXCLUDES(mutex_);
  // Before the plain file `plain` changes or goes, and `compressed` beside it would come to light:
  // that is removed if they are twins and nobody is at work with them any more. One that somebody
  // is just making from the plain file is left to them. Returns whether it was removed.
  // Errors: what the system said. Blocks, also on `.xzfs/lock`.
  Result<bool> RemoveHidden(int dir, const std::string& plain, const std::string& compressed)
      EXCLUDES(mutex_);

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
  const int source_;
  Mutex mutex_;
  std::shared_ptr<Session> own_ GUARDED_BY(mutex_);  // null: there is none yet
  // Pairs that no claim names: one would have to be there before they were a pair.
  std::unordered_set<size_t> foreign_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
