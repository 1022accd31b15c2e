// Files that are replaced by other forms of themselves, many at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "base/os.h"
#include "base/worker_pool.h"
#include "ctl/replace/tree.h"
#include "store/claims.h"
#include "xzfs/result.h"

namespace xzfs {

// One file. Its calls come in this order, from one thread at a time; an error, or false, of one of
// them is the last, and was said by then. When it goes it undoes what it did, unless all was done.
class FileJob {
 public:
  virtual ~FileJob() = default;
  // Makes the new form, complete and verified, under a name of our own. False: the file stays as it
  // is.
  virtual bool Make() = 0;
  // The new form: synced before Publish.
  virtual int made() const = 0;
  virtual uint64_t made_bytes() const = 0;
  // Writes down what Publish and Finish are going to do with names.
  virtual bool ClaimNames() = 0;
  // Gives it its name, once that is on the disk: for all that were claimed before by one sync.
  virtual bool Publish() = 0;
  // Takes the old form away. The directory was synced after Publish.
  virtual void Finish() = 0;
  // What holds until the directory was synced after Finish, too.
  virtual std::vector<HeldClaim> TakeClaims() = 0;
  // Instead of the next step: `error` is why there is none.
  virtual void Abandon(const Error& error) = 0;
  // Where both are, under all their names.
  virtual std::vector<OpenDirPtr> dirs() const = 0;
};

// Makes files on several threads. What is made is synced, named, and the names synced, in batches:
// syncs at the same time take hardly longer than one of them, and each directory is synced once for
// many files. Thread-safe.
class FileBatch {
 public:
  FileBatch(Os& os, unsigned threads);
  // Finishes all.
  ~FileBatch();
  FileBatch(const FileBatch&) = delete;
  FileBatch& operator=(const FileBatch&) = delete;

  // Blocks while the threads have enough to do.
  void Add(std::unique_ptr<FileJob> job) EXCLUDES(mutex_);
  // Returns when all jobs that were added are done.
  void Finish() EXCLUDES(mutex_);

 private:
  using Jobs = std::vector<std::unique_ptr<FileJob>>;

  void Work() EXCLUDES(mutex_);
  void PublishAll() EXCLUDES(mutex_);
  void Publish(Jobs jobs);
  void SyncFiles(Jobs& jobs);
  void SyncDirectories(Jobs& jobs);
  void SyncFinished();

  Os& os_;
  const size_t most_queued_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<std::unique_ptr<FileJob>> queue_ GUARDED_BY(mutex_);
  Jobs made_ GUARDED_BY(mutex_);
  uint64_t made_bytes_ GUARDED_BY(mutex_) = 0;
  unsigned working_ GUARDED_BY(mutex_) = 0;  // threads that may still add to made_
  bool ending_ GUARDED_BY(mutex_) = false;   // nothing more is added to queue_
  // Names of files that were taken away are not on the disk. Of the publishing thread.
  std::set<OpenDirPtr> unsynced_;
  std::vector<HeldClaim> finished_;  // likewise, until they are
  WorkerPool syncers_;
  std::vector<std::thread> threads_;
};

}  // namespace xzfs
