// New forms of files get their names, many at a time.
#pragma once

#include <set>
#include <vector>

#include "base/os.h"
#include "base/worker_pool.h"
#include "ctl/replace/file_job.h"
#include "ctl/replace/tree.h"
#include "store/claims.h"

namespace xzfs {

// Syncs what was made, names it, and syncs the names: syncs at the same time take hardly longer
// than one of them, and each directory is synced once for many files. Not thread-safe.
class BatchPublisher {
 public:
  explicit BatchPublisher(Os& os);

  // Takes the jobs, all of which have made their files, through the rest of their steps. What they
  // take away is on the disk after the next call. Blocks.
  void Publish(FileJobs jobs);
  // Brings to the disk that the files of the last batches were taken away. Blocks.
  void SyncFinished();

 private:
  void SyncFiles(FileJobs& jobs);
  void SyncDirectories(FileJobs& jobs);

  Os& os_;
  WorkerPool syncers_;
  // Names of files that were taken away are not on the disk.
  std::set<OpenDirPtr> unsynced_;
  std::vector<HeldClaim> finished_;  // until they are
};

}  // namespace xzfs
