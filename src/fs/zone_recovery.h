// Taking over zones from earlier mounts.
#pragma once

#include <atomic>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "fs/commit_requests.h"
#include "fs/edited_files.h"
#include "fs/zones.h"
#include "xzfs/result.h"

namespace xzfs {

class Lookups;
class NodeTree;
class Orphans;
class Overlays;
class PendingNotes;
class ZoneTable;

// What recovery works with.
struct RecoveryParts {
  NodeTree& tree;
  ZoneTable& zones;
  EditedFiles& edited;
  Orphans& orphans;
  Overlays& overlays;
  PendingNotes& pending;
  CommitRequests& requests;
  Lookups& lookups;
  Os& os;
};

// Runs Recovery, and its searches in the background. Thread-safe.
class ZoneRecovery {
 public:
  explicit ZoneRecovery(const RecoveryParts& parts) : parts_(parts) {}
  ~ZoneRecovery() { EndSearches(); }
  ZoneRecovery(const ZoneRecovery&) = delete;
  ZoneRecovery& operator=(const ZoneRecovery&) = delete;

  // Blocks. Call it before the first name in the zone is answered.
  Status RecoverZone(const ZonePtr& zone, const DescriptorPtr& top);
  // The node has lost its known names, and has others: searches for one. ENOENT: it surely has
  // none.
  Status FindNameOf(const NodePtr& node);
  // Blocks until all searches have ended, which is soon.
  void EndSearches() EXCLUDES(mutex_);

  // For Recovery: takes overlays whose base is not where it was seen last. A lookup of the base
  // attaches its overlay; a search in the background settles all others.
  void AddOrphans(const ZonePtr& zone, std::vector<Orphan> orphans) EXCLUDES(mutex_);
  bool searches_end() const { return searches_end_; }

 private:
  const RecoveryParts parts_;
  // Searches end soon after this is set.
  std::atomic<bool> searches_end_{false};
  Mutex mutex_;
  std::vector<std::thread> searches_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
