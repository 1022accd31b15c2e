#include "ctl/replace/file_batch.h"

#include <system_error>
#include <utility>

namespace xzfs {
namespace {

// A batch has so many files that a sync costs little for each. It has so few that two descriptors
// for each are no burden, and that a program that wants to write to one of them doesn't wait for
// long.
constexpr size_t kBatchFiles = 256;
constexpr uint64_t kBatchBytes = uint64_t{64} << 20;

}  // namespace

FileBatch::FileBatch(Os& os, unsigned threads) : publisher_(os), most_queued_(size_t{4} * threads) {
  {
    MutexLock lock(mutex_);
    working_ = threads;
  }
  threads_.emplace_back([this] { PublishAll(); });
  for (unsigned i = 0; i < threads; ++i) {
    try {
      threads_.emplace_back([this] { Work(); });
    } catch (const std::system_error&) {
      if (i == 0) {
        throw;
      }
      MutexLock lock(mutex_);  // go on with the threads that there are
      working_ -= threads - i;
      break;
    }
  }
}

FileBatch::~FileBatch() { Finish(); }

void FileBatch::Add(std::unique_ptr<FileJob> job) {
  MutexLock lock(mutex_);
  while (queue_.size() >= most_queued_) {
    changed_.Wait(mutex_);
  }
  queue_.push_back(std::move(job));
  changed_.NotifyAll();
}

void FileBatch::Finish() {
  {
    MutexLock lock(mutex_);
    ending_ = true;
  }
  changed_.NotifyAll();
  for (std::thread& thread : threads_) {
    thread.join();
  }
  threads_.clear();
}

void FileBatch::Work() {
  mutex_.Lock();
  for (;;) {
    while ((queue_.empty() && !ending_) || made_.size() >= 2 * kBatchFiles) {
      changed_.Wait(mutex_);
    }
    if (queue_.empty()) {
      break;
    }
    std::unique_ptr<FileJob> job = std::move(queue_.front());
    queue_.pop_front();
    changed_.NotifyAll();
    mutex_.Unlock();
    if (!job->Make()) {
      job = nullptr;
    }
    mutex_.Lock();
    if (job != nullptr) {
      made_bytes_ += job->made_bytes();
      made_.push_back(std::move(job));
      changed_.NotifyAll();
    }
  }
  --working_;
  changed_.NotifyAll();
  mutex_.Unlock();
}

void FileBatch::PublishAll() {
  for (;;) {
    FileJobs jobs;
    {
      MutexLock lock(mutex_);
      while (working_ != 0 && made_.size() < kBatchFiles && made_bytes_ < kBatchBytes) {
        changed_.Wait(mutex_);
      }
      jobs.swap(made_);
      made_bytes_ = 0;
    }
    changed_.NotifyAll();
    if (jobs.empty()) {
      break;
    }
    publisher_.Publish(std::move(jobs));
  }
  publisher_.SyncFinished();
}

}  // namespace xzfs
