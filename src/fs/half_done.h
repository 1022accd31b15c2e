// Operations on names that failed half way and could not be undone at once.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "fs/node_tree.h"
#include "store/descriptor_cache.h"
#include "store/session.h"

namespace xzfs {

class DoneIntents;
class Os;

// An operation that failed, and its steps that were done, the last one first.
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
  std::vector<DescriptorPtr> dirs;        // the steps change them
  std::vector<IntentStep> intended = {};  // what the intent says
};

// Thread-safe.
class HalfDoneOperations {
 public:
  HalfDoneOperations(NodeTree& tree, DoneIntents& done_intents, Os& os)
      : namespace_(tree.namespace_lock()), done_intents_(done_intents), os_(os) {}

  // Undoes the steps. Returns false if that failed: each UndoAll tries it again. REQUIRES: names
  // are held exclusively.
  bool UndoOrKeep(HalfDone half) EXCLUDES(mutex_);
  // Call it before looking at a name.
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
