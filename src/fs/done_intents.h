// Intents whose steps are all done, but perhaps not on the disk yet.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "store/descriptor_cache.h"
#include "store/session.h"
#include "xzfs/result.h"

namespace xzfs {

class Os;

// Syncs each directory once. Blocks: until they are on the disk. EBADF: we may not read one of
// them.
Status SyncDirectories(Os& os, const std::vector<DescriptorPtr>& dirs);

// An intent that can be removed as soon as `dirs` are on the disk.
struct DoneIntent {
  std::shared_ptr<Session> session;
  std::string name;
  std::vector<DescriptorPtr> dirs;
  std::vector<IntentStep> steps;

  // Whether an operation with these steps uses one of its paths.
  bool Concerns(const std::vector<IntentStep>& others) const;
};

// An intent must stay until its steps are on the disk: after a power cut btrfs may have kept its
// removal and lost a step. An intent that stays longer does no harm. So this collects intents and
// syncs a directory once for many of them. Thread-safe.
class DoneIntents {
 public:
  explicit DoneIntents(Os& os) : os_(os) {}

  void Add(DoneIntent done) EXCLUDES(mutex_);
  // Removes all intents if there are at least `at_least`. If a directory can't be synced all stay.
  // Blocks: on the disk. If `at_least` is 1 it also waits for another thread that is removing some,
  // so their steps are on the disk, too, when this returns.
  void Remove(size_t at_least) EXCLUDES(mutex_, turn_);
  // Removes all intents if one of them concerns an operation that is about to begin. Blocks in the
  // same way.
  void RemoveBefore(const std::vector<IntentStep>& steps) EXCLUDES(mutex_, turn_);

 private:
  void RemoveIf(const std::function<bool(const DoneIntent&)>& concerns) EXCLUDES(mutex_, turn_);

  Os& os_;
  Mutex turn_;  // held while a thread syncs and removes some
  Mutex mutex_;
  std::vector<DoneIntent> intents_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
