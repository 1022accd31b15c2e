// Replaces files by other forms of themselves, many at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "base/os.h"
#include "ctl/replace/batch_publisher.h"
#include "ctl/replace/file_job.h"

namespace xzfs {

// Several threads make files; one more thread publishes them in batches. Thread-safe.
class FileBatch {
 public:
  FileBatch(Os& os, unsigned threads);
  // As Finish.
  ~FileBatch();
  FileBatch(const FileBatch&) = delete;
  FileBatch& operator=(const FileBatch&) = delete;

  // Blocks while the threads have enough to do.
  void Add(std::unique_ptr<FileJob> job) EXCLUDES(mutex_);
  // Returns when all jobs that were added are done.
  void Finish() EXCLUDES(mutex_);

 private:
  void Work() EXCLUDES(mutex_);
  void PublishAll() EXCLUDES(mutex_);

  BatchPublisher publisher_;  // only the thread that publishes uses it
  const size_t most_queued_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<std::unique_ptr<FileJob>> queue_ GUARDED_BY(mutex_);
  FileJobs made_ GUARDED_BY(mutex_);
  uint64_t made_bytes_ GUARDED_BY(mutex_) = 0;
  unsigned working_ GUARDED_BY(mutex_) = 0;  // threads that may still add to made_
  bool ending_ GUARDED_BY(mutex_) = false;   // nothing more is added to queue_
  std::vector<std::thread> threads_;
};

}  // namespace xzfs
