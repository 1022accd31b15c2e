// When which file is committed.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/idle_priority.h"
#include "base/mutex.h"
#include "fs/node.h"
#include "xzfs/result.h"

namespace xzfs {

// The queue of files with changes, and the threads that take them from it. Thread-safe.
//
// A file waits until it has settled, and while others are being written one after the other a bit
// longer: the syncs of commits would be in the way of who copies a tree. One whose commit failed is
// tried again, later each time, unless that would be in vain; after ENOSPC and EDQUOT the whole
// queue waits, as others would fail, too.
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
  using Done = std::function<void(const Status&)>;

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
  using Clock = std::chrono::steady_clock;

  // What happens one after the other has a number: attempts that begin, files that become pending,
  // waits.
  using Moment = uint64_t;

  struct Waiter {
    Moment since;
    Done done;
    std::unique_ptr<const AwaitedWork> awaited;
  };
  // Pending.
  struct Entry {
    Clock::time_point entered;
    Clock::time_point due;
    uint64_t plain_bytes = 0;
    unsigned failures = 0;
    bool running = false;
    bool is_awaited = false;
    // Added, or waited for, while it was running.
    bool again = false;
    Moment began = 0;  // the attempt that is running, or was last
    // A caller that began to wait before that doesn't wait for this file: it wasn't pending then,
    // or an attempt that began later has failed.
    Moment owes_since = 0;
    std::vector<Waiter> waiters = {};  // for this file alone
  };
  using Entries = std::unordered_map<NodeId, Entry>;

  // Those who wait for all that was pending at one moment.
  struct SyncWait {
    uint64_t owed = 0;  // files that are still waited for
    Status status = {};
    std::vector<Done> done = {};
    const AwaitedWork awaited = {};
  };
  // Waits that have ended: told when no lock is held.
  using Ended = std::vector<std::pair<Done, Status>>;

  // When a file whose time has come is really begun.
  Clock::time_point BeginOf(const Entry& entry) const REQUIRES(mutex_);
  // Returns whether the queue took over the caller's pin.
  bool Enter(NodeId id, uint64_t plain_bytes) REQUIRES(mutex_);
  void Run() EXCLUDES(mutex_);
  // The next one whose time has come, or nothing: then `until` is when one may be.
  std::optional<NodeId> NextDue(Clock::time_point* until) REQUIRES(mutex_);
  void Schedule(NodeId id, Entry& entry, Clock::time_point due) REQUIRES(mutex_);
  // Returns whether the node is pending no more.
  bool Finish(NodeId id, Entry& entry, Result<Outcome> result, bool is_final, Ended& ended)
      REQUIRES(mutex_);
  bool IsWaitedFor(const Entry& entry) const REQUIRES(mutex_);
  // The file isn't waited for any more by who began before `until`.
  void EndWaits(Entry& entry, Moment until, const Status& status, Ended& ended) REQUIRES(mutex_);
  void EndAllWaits(Ended& ended) REQUIRES(mutex_);
  static void Tell(Ended& ended);

  void StartThreads() REQUIRES(mutex_);

  const Calls calls_;
  Mutex mutex_;
  unsigned thread_count_ GUARDED_BY(mutex_);
  unsigned running_ GUARDED_BY(mutex_) = 0;
  std::chrono::nanoseconds settle_ GUARDED_BY(mutex_);
  CondVar changed_;
  Entries entries_ GUARDED_BY(mutex_);
  // Those that neither run nor are finished, by their time.
  std::set<std::pair<Clock::time_point, NodeId>> schedule_ GUARDED_BY(mutex_);
  Moment now_ GUARDED_BY(mutex_) = 0;
  std::map<Moment, SyncWait> syncs_ GUARDED_BY(mutex_);
  Clock::time_point last_entered_ GUARDED_BY(mutex_);
  Clock::time_point paused_until_ GUARDED_BY(mutex_);
  unsigned pauses_ GUARDED_BY(mutex_) = 0;
  std::string last_error_ GUARDED_BY(mutex_);
  bool ending_ GUARDED_BY(mutex_) = false;
  bool finishing_ GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
