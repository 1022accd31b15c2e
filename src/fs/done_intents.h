// Intents of which all steps are taken, and are perhaps not on the disk.
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

// Each once. Blocks: until they are on the disk.
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

// An intent that goes before its steps are on the disk can't complete them after a power cut: btrfs
// may keep the one change and lose the other. Until then it does no harm, so a directory is synced
// once for many. Thread-safe.
class DoneIntents {
 public:
  explicit DoneIntents(Os& os) : os_(os) {}

  void Add(DoneIntent done) EXCLUDES(mutex_);
  // Removes all, if there are so many. Those that could not be synced stay. Blocks: on the disk.
  // At least 1: on another thread that does the same, too; what that has taken is on the disk then.
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
