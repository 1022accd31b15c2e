// Which files are pending, and when the commit of each begins.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "fs/commit_waits.h"
#include "fs/node.h"

namespace xzfs {

// A file waits until it has settled, and a bit longer while others are being written one after the
// other: the syncs of commits would slow down a program that copies a tree. After a full disk all
// files wait, since others would fail, too. Not thread-safe: the Committer's mutex guards it.
class CommitQueue {
 public:
  using Clock = std::chrono::steady_clock;

  // A pending file.
  struct Entry {
    uint64_t plain_bytes = 0;
    unsigned failures = 0;  // in a row
    bool running = false;   // an attempt is at work
    bool is_awaited = false;
    // Added, or waited for, while it was running.
    bool again = false;
    CommitWaits::File waits = {};
    Clock::time_point entered = {};
    Clock::time_point due = {};
  };
  using Entries = std::unordered_map<NodeId, Entry>;

  explicit CommitQueue(std::chrono::nanoseconds settle) : settle_(settle) {}

  void SetSettle(std::chrono::nanoseconds settle) { settle_ = settle; }

  // The file was written to. Returns its entry, and whether it wasn't pending before. It has no
  // time then: one of the Schedule methods has to follow.
  std::pair<Entry*, bool> Enter(NodeId id, uint64_t plain_bytes);
  // It isn't pending any more.
  void Remove(NodeId id) { entries_.erase(id); }

  // When its next attempt begins; if one is at work, not before it has ended.
  // At once. Not even a full disk delays it, since a caller waits and gets the error.
  void ScheduleNow(NodeId id, Entry& entry);
  // When it has settled.
  void ScheduleSettled(NodeId id, Entry& entry);
  // Later after each failure.
  void ScheduleRetry(NodeId id, Entry& entry);

  // The next file whose time has come. Nothing if there is none; then `until` is when there may be
  // one.
  std::optional<NodeId> NextDue(Clock::time_point* until) const;
  // The next file at the end of all commits: no file has to settle, and files that failed are left
  // out. Nothing if there is none.
  std::optional<NodeId> NextAtEnd() const;
  // Its attempt begins: until it is scheduled again NextDue leaves it out.
  Entry& Take(NodeId id);

  // A commit found the disk full: the pause becomes longer with each.
  void Pause();
  void EndPause();

  // Of a pending file.
  Entry& At(NodeId id) { return entries_.at(id); }
  Entries& entries() { return entries_; }
  bool empty() const { return entries_.empty(); }

 private:
  void Schedule(NodeId id, Entry& entry, Clock::time_point due);
  Clock::time_point BeginOf(const Entry& entry) const;

  std::chrono::nanoseconds settle_;
  Entries entries_;
  // Those that neither run nor are finished, by their time.
  std::set<std::pair<Clock::time_point, NodeId>> schedule_;
  Clock::time_point last_entered_;
  Clock::time_point paused_until_;
  unsigned pauses_ = 0;  // in a row
};

}  // namespace xzfs
