// When which file is committed.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "fs/commit_for.h"
#include "fs/commit_queue.h"
#include "fs/commit_waits.h"
#include "fs/node.h"
#include "xzfs/result.h"

namespace xzfs {

// Takes files with changes from a CommitQueue and commits them on its threads. Thread-safe.
//
// A commit that failed is tried again, later each time, unless a further attempt can't help. After
// ENOSPC and EDQUOT the whole queue waits, since other commits would fail, too.
class Committer {
 public:
  enum class Outcome {
    kDone,       // the file is compressed now
    kLeft,       // there is nothing to commit, or it stays plain
    kCancelled,  // the file was changed: it is tried again when it has settled
  };
  enum class Ending {
    kAtOnce,    // except commits that are running
    kWhenDone,  // when all pending files have been tried: committed or failed
  };
  struct Calls {
    // Commits the node. Called on the committer's
    // threads without a lock.
    std::function<Result<Outcome>(NodeId, CommitFor)> commit;
    // Keep the node while the queue holds it; `pin` returns false if the node isn't known. Called
    // without a lock.
    std::function<bool(NodeId)> pin;
    std::function<void(NodeId)> unpin;
    // Nothing is pending any more.
    std::function<void()> on_idle;
    // Whether to stop trying after the failure of the last attempt. Called without a lock. Null:
    // never.
    std::function<bool(NodeId)> has_given_up = nullptr;
  };
  struct Figures {
    uint64_t pending = 0;
    uint64_t pending_bytes = 0;
    std::string last_error;  // empty: none
  };

  // Called once with how a wait has ended: on any thread, without a lock, maybe before the call
  // returns.
  using Done = CommitWaits::Done;

  Committer(unsigned threads, std::chrono::nanoseconds settle, Calls calls);
  ~Committer() { End(Ending::kAtOnce); }
  Committer(const Committer&) = delete;
  Committer& operator=(const Committer&) = delete;

  void Start() EXCLUDES(mutex_);

  // May be called while it runs: how long files settle from now on, and how many commits run at
  // once.
  void SetSettle(std::chrono::nanoseconds settle) EXCLUDES(mutex_);
  void SetThreads(unsigned count) EXCLUDES(mutex_);

  // Queues the file. If it is queued already it begins to settle again. `plain_bytes`: for the
  // figures. `whom`: of the next attempt.
  void Add(NodeId id, uint64_t plain_bytes, CommitFor whom = CommitFor::kNobody) EXCLUDES(mutex_);
  // Commits the node at once. `done` gets a success when the file is not pending any more, or the
  // error of an attempt that began after this call. ESHUTDOWN: the mount is ending.
  void CommitNow(NodeId id, uint64_t plain_bytes, const Done& done) EXCLUDES(mutex_);
  // Commits all files that are pending now. `done` gets the error of one that failed, if any.
  void Sync(Done done) EXCLUDES(mutex_);
  // The same, but they block until the end. Not for request threads.
  Status CommitNow(NodeId id, uint64_t plain_bytes) EXCLUDES(mutex_);
  Status Sync() EXCLUDES(mutex_);
  // Ends the threads. Files that are left stay pending.
  void End(Ending ending) EXCLUDES(mutex_);
  // Begins no further commit. For a thread other than the one that runs End.
  void Park() EXCLUDES(mutex_);

  std::vector<NodeId> Pending() EXCLUDES(mutex_);
  bool is_idle() EXCLUDES(mutex_);
  Figures figures() EXCLUDES(mutex_);

 private:
  // Returns whether the queue took over the caller's pin.
  bool Enter(NodeId id, uint64_t plain_bytes) REQUIRES(mutex_);
  void ScheduleSettled(NodeId id, CommitQueue::Entry& entry) REQUIRES(mutex_);
  void Run() EXCLUDES(mutex_);
  // Returns whether the node is not pending any more.
  bool Finish(NodeId id, CommitQueue::Entry& entry, Result<Outcome> result, bool is_final,
              CommitWaits::Ended& ended) REQUIRES(mutex_);
  void EndAllWaits(CommitWaits::Ended& ended) REQUIRES(mutex_);
  static void Tell(CommitWaits::Ended& ended);

  void StartThreads() REQUIRES(mutex_);

  const Calls calls_;
  Mutex mutex_;
  unsigned thread_count_ GUARDED_BY(mutex_);
  unsigned running_ GUARDED_BY(mutex_) = 0;
  CondVar changed_;
  CommitQueue queue_ GUARDED_BY(mutex_);
  CommitWaits waits_ GUARDED_BY(mutex_);
  std::string last_error_ GUARDED_BY(mutex_);
  bool ending_ GUARDED_BY(mutex_) = false;
  bool finishing_ GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
