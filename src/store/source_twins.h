// Which pairs of stored files `N` and `N.xz` are one file that a commit is replacing.
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
#include "store/home.h"
#include "store/session.h"
#include "xzfs/result.h"

namespace xzfs {

// Thread-safe.
class TwinRecords {
 public:
  virtual ~TwinRecords() = default;
  // Whether a record of ours names both. Blocks.
  virtual bool AreTwins(const FileFacts& plain, const FileFacts& compressed) = 0;
  // To be called before the plain file `plain` is changed or removed, as then `compressed` beside
  // it would be shown. Removes `compressed` if they are twins and no process is at work with them.
  // If a process is just making it from the plain file, that process removes it. Returns whether it
  // was removed. Errors: what the system said. Blocks, also on `.xzfs/lock`.
  virtual Result<bool> RemoveHidden(int dir, const std::string& plain,
                                    const std::string& compressed) = 0;
};

// The records of all sessions of one `.xzfs/`. Our own are in memory. Those of other sessions,
// living or dead, are read from the disk when two files meet that aren't yet known to be unclaimed.
// Thread-safe.
class SourceTwins : public TwinRecords {
 public:
  // Opens the directory that `.xzfs/` is in. Null if it isn't there any more.
  using OpenTop = std::function<DescriptorPtr()>;
  // The arguments outlive it.
  SourceTwins(Os& os, OpenTop open_top, HomeTop top_kind)
      : os_(os), open_top_(std::move(open_top)), top_kind_(top_kind) {}

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
  const HomeTop top_kind_;
  Mutex mutex_;
  std::shared_ptr<Session> own_ GUARDED_BY(mutex_);  // null: there is none yet
  // Pairs that no claim names. A later claim can't name them: it would have been there before the
  // pair.
  std::unordered_set<size_t> foreign_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
