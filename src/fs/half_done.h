// Operations on names that failed half way, and could not be undone then.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/os.h"
#include "fs/done_intents.h"
#include "fs/node_tree.h"
#include "store/descriptor_cache.h"
#include "store/session.h"

namespace xzfs {

// The steps that were done of an operation that failed, the last one first.
struct HalfDone {
  struct Step {
    DescriptorPtr from;
    std::string from_name;
    DescriptorPtr to;
    std::string to_name;
    uint64_t inode = 0;
  };
  std::vector<Step> steps;
  std::shared_ptr<Session> session;
  std::string intent;
  std::vector<DescriptorPtr> dirs;        // that the steps change
  std::vector<IntentStep> intended = {};  // what the intent says
};

// Thread-safe.
class HalfDoneOperations {
 public:
  HalfDoneOperations(NodeTree& tree, DoneIntents& done_intents, Os& os)
      : namespace_(tree.namespace_lock()), done_intents_(done_intents), os_(os) {}

  // Returns whether all is as it was before; else it is tried again at each UndoAll. REQUIRES:
  // names are held exclusively.
  bool UndoOrKeep(HalfDone half) EXCLUDES(mutex_);
  // Before a name is looked at.
  void UndoAll() EXCLUDES(namespace_, mutex_);

 private:
  bool Undo(const HalfDone& half);

  SharedMutex& namespace_;
  DoneIntents& done_intents_;
  Os& os_;
  std::atomic<bool> has_half_done_{false};
  Mutex mutex_;
  std::vector<HalfDone> half_done_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
