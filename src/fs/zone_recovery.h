// What earlier mounts left in a zone is taken over by this one.
#pragma once

#include <atomic>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "fs/commit_requests.h"
#include "fs/edited_files.h"
#include "fs/lookups.h"
#include "fs/node_tree.h"
#include "fs/orphans.h"
#include "fs/overlays.h"
#include "fs/pending_notes.h"
#include "fs/zone_table.h"
#include "fs/zones.h"
#include "xzfs/result.h"

namespace xzfs {

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

  // Blocks. Before the first name in the zone is answered.
  Status RecoverZone(const ZonePtr& zone, const DescriptorPtr& top);
  // The node has lost the names that were known, and has others. ENOENT: it surely has none.
  Status FindNameOf(const NodePtr& node);
  // Blocks until all searches have ended, which is soon.
  void EndSearches() EXCLUDES(mutex_);

  // For Recovery: overlays whose base was not found where it was seen last. Whoever looks the base
  // up gets it with its overlay; a search settles those that nobody looks up.
  void AddOrphans(const ZonePtr& zone, std::vector<Orphan> orphans) EXCLUDES(mutex_);
  bool searches_end() const { return searches_end_; }

 private:
  const RecoveryParts parts_;
  // Each ends when it's through, or soon after this is set.
  std::atomic<bool> searches_end_{false};
  Mutex mutex_;
  std::vector<std::thread> searches_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
