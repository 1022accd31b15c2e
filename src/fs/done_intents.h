// Intents whose steps are all taken. The disk may not have the steps yet.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/os.h"
#include "store/descriptor_cache.h"
#include "store/session.h"
#include "xzfs/result.h"

namespace xzfs {

// Syncs each directory once. Blocks: until they are on the disk. EBADF: of one that we may not
// read.
Status SyncDirectories(Os& os, const std::vector<DescriptorPtr>& dirs);

// An intent that is of no use as soon as `dirs` are on the disk.
struct DoneIntent {
  std::shared_ptr<Session> session;
  std::string name;
  std::vector<DescriptorPtr> dirs;
  std::vector<IntentStep> steps;

  // Another operation with these steps names one of its paths.
  bool Concerns(const std::vector<IntentStep>& others) const;
};

// An intent must stay until its steps are on the disk: after a power cut btrfs may have kept its
// removal and lost a step. An intent that stays longer does no harm. So this collects them, and
// syncs a directory once for many. Thread-safe.
class DoneIntents {
 public:
  explicit DoneIntents(Os& os) : os_(os) {}

  void Add(DoneIntent done) EXCLUDES(mutex_);
  // Removes all, if there are at least so many. If a directory could not be synced all stay.
  // Blocks: on the disk; and, if `at_least` is 1, on another thread that is removing some: when
  // this returns their steps are on the disk, too.
  void Remove(size_t at_least) EXCLUDES(mutex_, turn_);
  // Removes all, if one of them concerns an operation that is about to begin. Blocks likewise.
  void RemoveBefore(const std::vector<IntentStep>& steps) EXCLUDES(mutex_, turn_);

 private:
  void RemoveIf(const std::function<bool(const DoneIntent&)>& concerns) EXCLUDES(mutex_, turn_);

  Os& os_;
  Mutex turn_;  // held while some are synced and removed
  Mutex mutex_;
  std::vector<DoneIntent> intents_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
