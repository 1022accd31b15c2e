// Which pairs of stored files are one file while a commit is between two steps, in all zones of a
// source.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "fs/zones.h"
#include "store/source_twins.h"

namespace xzfs {

// Each zone has records of its own. Thread-safe.
class ZoneTwins : public TwinRecords {
 public:
  // The top of a zone, open; null if its node isn't known any more. Outlives the object.
  using OpenTop = std::function<DescriptorPtr(NodeId top)>;
  ZoneTwins(Os& os, OpenTop open_top) : os_(os), open_top_(std::move(open_top)) {}

  // Call it before looking at the first name in the zone. May be called again.
  void Add(const Zone& zone) EXCLUDES(mutex_);
  void SetOwn(const Zone& zone, std::shared_ptr<Session> session) EXCLUDES(mutex_);
  // The directory is not the top of a zone any more.
  void Drop(const Zone& zone) EXCLUDES(mutex_);

  bool AreTwins(const FileFacts& plain, const FileFacts& compressed) override EXCLUDES(mutex_);
  Result<bool> RemoveHidden(int dir, const std::string& plain,
                            const std::string& compressed) override EXCLUDES(mutex_);

 private:
  struct Entry {
    NodeId top = 0;
    uint64_t device = 0;
    std::shared_ptr<SourceTwins> twins;
  };
  // A device may have several zones. A record names inodes, so a record of one zone never fits
  // files of another.
  std::vector<std::shared_ptr<SourceTwins>> On(uint64_t device) EXCLUDES(mutex_);
  std::shared_ptr<SourceTwins> AddLocked(const Zone& zone) REQUIRES(mutex_);

  Os& os_;
  const OpenTop open_top_;
  Mutex mutex_;
  std::vector<Entry> entries_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
