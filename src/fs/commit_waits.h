// Who waits for commits.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "base/idle_priority.h"
#include "xzfs/result.h"

namespace xzfs {

// Callers that wait for one pending file, and callers that wait for all files that were pending at
// one moment (syncs). While there is a caller, its AwaitedWork keeps the priority of commits up.
// Not thread-safe: the Committer's mutex guards it.
//
// What happens one after the other has a number, its moment: attempts that begin, files that become
// pending, callers that begin to wait. A caller waits for a success, or for an attempt that began
// after the caller did.
class CommitWaits {
 public:
  using Moment = uint64_t;
  // Called once with how a wait has ended.
  using Done = std::function<void(const Status&)>;
  // Waits that have ended, for the caller of these methods to tell when it holds no lock.
  using Ended = std::vector<std::pair<Done, Status>>;

  // The part of a pending file. Its owner keeps it as long as the file is pending.
  class File {
   private:
    friend class CommitWaits;
    struct Waiter {
      Moment since;
      Done done;
      std::unique_ptr<const AwaitedWork> awaited;
    };
    Moment began_ = 0;  // the attempt that is running, or was last
    // A sync that began before that doesn't wait for this file: the file wasn't pending then, or an
    // attempt that began later has failed.
    Moment owes_since_ = 0;
    std::vector<Waiter> waiters_;  // for this file alone
  };

  // The file has become pending.
  void Enter(File& file) { file.owes_since_ = ++now_; }
  // An attempt begins.
  void Begin(File& file) { file.began_ = ++now_; }
  bool IsWaitedFor(const File& file) const;

  // A caller waits for this file.
  void Add(File& file, Done done);
  // A caller waits for all `pending` files. Returns false if nothing has happened since the last
  // such call: the two wait together.
  bool AddSync(size_t pending, Done done);

  // An attempt has failed: ends the waits of callers that began to wait before it began.
  void EndEarlier(File& file, const Status& status, Ended& ended);
  // The file isn't pending any more: ends all waits for it.
  void EndAllOf(File& file, const Status& status, Ended& ended);
  // Ends the waits for this file alone; EndSyncs ends the others.
  static void EndOwn(File& file, const Status& status, Ended& ended);
  void EndSyncs(const Status& status, Ended& ended);

 private:
  struct Sync {
    uint64_t owed = 0;  // files that are still waited for
    Status status = {};
    std::vector<Done> done = {};
    const AwaitedWork awaited = {};
  };

  void EndBefore(File& file, Moment until, const Status& status, Ended& ended);

  Moment now_ = 0;
  std::map<Moment, Sync> syncs_;  // by the moment at which each began
};

}  // namespace xzfs
