// When which file is committed.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "fs/commit_queue.h"
#include "fs/commit_waits.h"
#include "fs/node.h"
#include "xzfs/result.h"

namespace xzfs {

// Takes files with changes from a CommitQueue and commits them on its threads. Thread-safe.
//
// A file whose commit failed is tried again, later each time, unless that would be in vain; after
// ENOSPC and EDQUOT the whole queue waits, since others would fail, too.
class Committer {
 public:
  enum class Outcome {
    kDone,       // it is compressed now
    kLeft,       // there is nothing to commit, or it stays plain
    kCancelled,  // somebody changed it: it is tried again when it has settled
  };
  enum class Ending {
    kAtOnce,    // but for what the threads work on
    kWhenDone,  // when nothing is pending that doesn't fail
  };
  struct Calls {
    // Commits the node. `is_awaited`: somebody waits for just that. Called on the committer's
    // threads without a lock.
    std::function<Result<Outcome>(NodeId, bool is_awaited)> commit;
    // The queue holds the node, or doesn't any more. Called without a lock.
    std::function<bool(NodeId)> pin;
    std::function<void(NodeId)> unpin;
    // Nothing is pending any more.
    std::function<void()> on_idle;
    // Whether the commit that has just failed is not to be tried again. Called without a lock.
    // Null: all are.
    std::function<bool(NodeId)> has_given_up = nullptr;
  };
  struct Figures {
    uint64_t pending = 0;
    uint64_t pending_bytes = 0;
    std::string last_error;  // empty: none
  };

  // Told once how a wait has ended, on any thread, without a lock, maybe before the call returns.
  using Done = CommitWaits::Done;

  Committer(unsigned threads, std::chrono::nanoseconds settle, Calls calls);
  ~Committer() { End(Ending::kAtOnce); }
  Committer(const Committer&) = delete;
  Committer& operator=(const Committer&) = delete;

  void Start() EXCLUDES(mutex_);

  // While it runs: how long files settle from now on, and how many commits are at work at once.
  void SetSettle(std::chrono::nanoseconds settle) EXCLUDES(mutex_);
  void SetThreads(unsigned count) EXCLUDES(mutex_);

  // `plain_bytes`: for the figures. Begins to settle anew if it is here already. `is_awaited`: as
  // if somebody waited for it.
  void Add(NodeId id, uint64_t plain_bytes, bool is_awaited = false) EXCLUDES(mutex_);
  // Commits the node, and says when an attempt has ended that began after this call: its error, or
  // that nothing is pending any more. ESHUTDOWN: the mount is ending.
  void CommitNow(NodeId id, uint64_t plain_bytes, const Done& done) EXCLUDES(mutex_);
  // Commits what is pending now. The error of one that failed.
  void Sync(Done done) EXCLUDES(mutex_);
  // The same, and wait. Not for request threads.
  Status CommitNow(NodeId id, uint64_t plain_bytes) EXCLUDES(mutex_);
  Status Sync() EXCLUDES(mutex_);
  // Ends the threads. What is left stays pending.
  void End(Ending ending) EXCLUDES(mutex_);
  // Begins nothing more; for a thread other than the one that is in End.
  void Park() EXCLUDES(mutex_);

  std::vector<NodeId> Pending() EXCLUDES(mutex_);
  bool is_idle() EXCLUDES(mutex_);
  Figures figures() EXCLUDES(mutex_);

 private:
  // Returns whether the queue took over the caller's pin.
  bool Enter(NodeId id, uint64_t plain_bytes) REQUIRES(mutex_);
  void ScheduleSettled(NodeId id, CommitQueue::Entry& entry) REQUIRES(mutex_);
  void Run() EXCLUDES(mutex_);
  // Returns whether the node is pending no more.
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
