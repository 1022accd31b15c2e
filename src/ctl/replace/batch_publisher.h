// Gives new forms of files their names, many at a time.
#pragma once

#include <set>
#include <vector>

#include "base/os.h"
#include "base/worker_pool.h"
#include "ctl/replace/file_job.h"
#include "ctl/replace/tree.h"
#include "store/claims.h"

namespace xzfs {

// Syncs the new files, gives them their names, and syncs the directories. Several syncs at the same
// time take hardly longer than one, and each directory is synced once for many files. Not
// thread-safe.
class BatchPublisher {
 public:
  explicit BatchPublisher(Os& os);

  // Does the remaining steps of the jobs, which have made their files. The removals are on the disk
  // after the next call. Blocks.
  void Publish(FileJobs jobs);
  // Syncs the removals of the last batches. Blocks.
  void SyncFinished();

 private:
  void SyncFiles(FileJobs& jobs);
  void SyncDirectories(FileJobs& jobs);

  Os& os_;
  WorkerPool syncers_;
  // Directories in which files were removed since they were last synced.
  std::set<OpenDirPtr> unsynced_;
  std::vector<HeldClaim> finished_;  // of finished jobs, until unsynced_ is synced
};

}  // namespace xzfs
