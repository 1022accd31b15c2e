#include "fs/commit_queue.h"

#include <algorithm>

namespace xzfs {
namespace {

using std::chrono::seconds;

// After the n-th failure in a row: 2 s, 4 s, ... about 4 minutes.
constexpr unsigned kMostDoublings = 7;
seconds DelayAfter(unsigned failures) {
  return seconds(int64_t{2} << std::min(failures - 1, kMostDoublings));
}

// A file waits at most so many times its settling time for others that are being written.
constexpr int kMostSettles = 10;

// Of files that begin at once.
constexpr CommitQueue::Clock::time_point kNow{};

}  // namespace

std::pair<CommitQueue::Entry*, bool> CommitQueue::Enter(NodeId id, uint64_t plain_bytes) {
  const auto [found, is_new] = entries_.try_emplace(id);
  Entry& entry = found->second;
  entry.plain_bytes = plain_bytes;
  entry.again = entry.running;
  entry.failures = 0;
  last_entered_ = Clock::now();
  if (is_new) {
    entry.entered = last_entered_;
  }
  return {&entry, is_new};
}

void CommitQueue::Schedule(NodeId id, Entry& entry, Clock::time_point due) {
  schedule_.erase({entry.due, id});
  entry.due = due;
  if (!entry.running) {
    schedule_.emplace(due, id);
  }
}

void CommitQueue::ScheduleNow(NodeId id, Entry& entry) { Schedule(id, entry, kNow); }

void CommitQueue::ScheduleSettled(NodeId id, Entry& entry) {
  Schedule(id, entry, Clock::now() + settle_);
}

void CommitQueue::ScheduleRetry(NodeId id, Entry& entry) {
  Schedule(id, entry, Clock::now() + DelayAfter(entry.failures));
}

// When a file whose time has come is really begun.
CommitQueue::Clock::time_point CommitQueue::BeginOf(const Entry& entry) const {
  if (entry.due == kNow) {
    return kNow;
  }
  const Clock::time_point quiet =
      std::min(last_entered_ + settle_, entry.entered + kMostSettles * settle_);
  return std::max({entry.due, quiet, paused_until_});
}

std::optional<NodeId> CommitQueue::NextDue(Clock::time_point* until) const {
  if (schedule_.empty()) {
    *until = Clock::time_point::max();
    return std::nullopt;
  }
  const NodeId id = schedule_.begin()->second;
  *until = BeginOf(entries_.at(id));
  return *until <= Clock::now() ? std::optional(id) : std::nullopt;
}

std::optional<NodeId> CommitQueue::NextAtEnd() const {
  for (const auto& [due, id] : schedule_) {
    if (entries_.at(id).failures == 0) {
      return id;
    }
  }
  return std::nullopt;
}

CommitQueue::Entry& CommitQueue::Take(NodeId id) {
  Entry& entry = entries_.at(id);
  schedule_.erase({entry.due, id});
  entry.running = true;
  entry.again = false;
  return entry;
}

void CommitQueue::Pause() {
  ++pauses_;
  paused_until_ = Clock::now() + DelayAfter(pauses_);
}

void CommitQueue::EndPause() {
  pauses_ = 0;
  paused_until_ = {};
}

}  // namespace xzfs
