#include "fs/committer.h"

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/idle_priority.h"

namespace xzfs {
namespace {

using std::chrono::seconds;

// After the n-th failure in a row: 2 s, 4 s, ... about 4 minutes.
constexpr unsigned kMostDoublings = 7;
seconds DelayAfter(unsigned failures) {
  return seconds(int64_t{2} << std::min(failures - 1, kMostDoublings));
}

// So often who waits looks whether it was interrupted.
constexpr std::chrono::milliseconds kInterruptInterval{100};

// So many times longer than it settles a file waits at most for others that are being written.
constexpr int kMostSettles = 10;

bool IsDiskFull(int code) { return code == ENOSPC || code == EDQUOT; }

}  // namespace

Committer::Committer(unsigned threads, std::chrono::nanoseconds settle, Calls calls)
    : calls_(std::move(calls)), thread_count_(threads), settle_(settle) {}

void Committer::Start() {
  MutexLock lock(mutex_);
  StartThreads();
}

void Committer::StartThreads() {
  try {
    while (threads_.size() < thread_count_) {
      threads_.emplace_back([this] {
        UseIdlePriority();
        Run();
      });
    }
  } catch (const std::system_error&) {
    // No more threads to be had: those that there are do it, if there are any.
  }
}

void Committer::SetSettle(std::chrono::nanoseconds settle) {
  MutexLock lock(mutex_);
  settle_ = settle;
}

void Committer::SetThreads(unsigned count) {
  MutexLock lock(mutex_);
  thread_count_ = count;
  if (!threads_.empty() && !ending_) {
    StartThreads();
  }
  changed_.NotifyAll();
}

void Committer::Add(NodeId id, uint64_t plain_bytes, bool is_awaited) {
  const bool pinned = calls_.pin(id);
  bool is_new = false;
  if (pinned) {
    MutexLock lock(mutex_);
    is_new = Enter(id, plain_bytes);
    if (is_awaited && !ending_) {
      entries_.at(id).is_awaited = true;
    }
  }
  changed_.NotifyAll();
  if (pinned && !is_new) {
    calls_.unpin(id);
  }
}

bool Committer::Enter(NodeId id, uint64_t plain_bytes) {
  if (ending_) {
    return false;
  }
  Entry& entry = entries_[id];
  const bool is_new = std::exchange(entry.finished, false);
  pending_ += is_new ? 1 : 0;
  entry.plain_bytes = plain_bytes;
  entry.again = entry.running;
  entry.failures = 0;
  if (is_new) {
    entry.error.reset();
  }
  last_entered_ = Clock::now();
  entry.entered = is_new ? last_entered_ : entry.entered;
  Schedule(id, entry, last_entered_ + settle_);
  return is_new;
}

void Committer::Schedule(NodeId id, Entry& entry, Clock::time_point due) {
  schedule_.erase({entry.due, id});
  entry.due = due;
  if (!entry.running) {
    schedule_.emplace(due, id);
  }
}

Status Committer::CommitNow(NodeId id, uint64_t plain_bytes) {
  if (!calls_.pin(id)) {
    return {};
  }
  bool is_new = false;
  Status status;
  {
    MutexLock lock(mutex_);
    is_new = Enter(id, plain_bytes);
    if (ending_) {
      status = Fail(ESHUTDOWN, "the mount is ending: the file is committed at the next one");
    } else if (const auto enough = BeginWait(id)) {
      status = WaitForAttempt(id, *enough, nullptr);
    }
  }
  if (!is_new) {
    calls_.unpin(id);
  }
  return status;
}

Status Committer::Sync(const Interrupted& interrupted) {
  const std::vector<NodeId> ids = Pending();
  Status status;
  MutexLock lock(mutex_);
  // All of them before the first is waited for: what is begun meanwhile began after the call.
  std::vector<std::pair<NodeId, uint64_t>> awaited;
  for (const NodeId id : ids) {
    if (const auto enough = BeginWait(id)) {
      awaited.emplace_back(id, *enough);
    }
  }
  for (const auto& [id, enough] : awaited) {
    const Status one = WaitForAttempt(id, enough, interrupted);
    if (status && !one) {
      status = one;
    }
  }
  return status;
}

std::optional<uint64_t> Committer::BeginWait(NodeId id) {
  const auto found = entries_.find(id);
  if (found == entries_.end() || found->second.finished) {
    return std::nullopt;
  }
  Entry& entry = found->second;
  ++entry.waiters;
  entry.again |= entry.running;
  Schedule(id, entry, {});
  changed_.NotifyAll();
  return entry.attempts + (entry.running ? 2 : 1);
}

Status Committer::WaitForAttempt(NodeId id, uint64_t enough, const Interrupted& interrupted) {
  Status status;
  for (;;) {
    Entry& entry = entries_.at(id);
    if (entry.finished && entry.error) {
      status = tl::unexpected(*entry.error);
    }
    if (entry.finished || ending_) {
      break;
    }
    if (entry.attempts >= enough && !entry.running) {
      if (entry.error) {
        status = tl::unexpected(*entry.error);
        break;
      }
    }
    if (entry.due != Clock::time_point()) {
      Schedule(id, entry, {});
      changed_.NotifyAll();
    }
    if (interrupted == nullptr) {
      changed_.Wait(mutex_);
    } else if (interrupted()) {
      status = Fail(EINTR, "interrupted; the commits go on");
      break;
    } else {
      changed_.WaitUntil(mutex_, Clock::now() + kInterruptInterval);
    }
  }
  const auto it = entries_.find(id);
  if (--it->second.waiters == 0 && it->second.finished) {
    entries_.erase(it);
  }
  return status;
}

Committer::Clock::time_point Committer::BeginOf(const Entry& entry) const {
  if (entry.due == Clock::time_point()) {
    return {};  // somebody waits, and is told at once if the disk is full
  }
  const Clock::time_point quiet =
      std::min(last_entered_ + settle_, entry.entered + kMostSettles * settle_);
  return std::max({entry.due, quiet, paused_until_});
}

std::optional<NodeId> Committer::NextDue(Clock::time_point* until) {
  *until = Clock::time_point::max();
  for (const auto& [due, id] : schedule_) {
    // At the end nobody waits for files to settle, or for those that fail.
    if (finishing_ && entries_.at(id).failures == 0) {
      return id;
    }
    if (!finishing_) {
      *until = BeginOf(entries_.at(id));
      return *until <= Clock::now() ? std::optional(id) : std::nullopt;
    }
  }
  return std::nullopt;
}

void Committer::Run() {
  mutex_.Lock();
  while (!ending_) {
    if (running_ >= thread_count_) {
      changed_.Wait(mutex_);
      continue;
    }
    Clock::time_point until;
    const auto next = NextDue(&until);
    if (!next) {
      if (until == Clock::time_point::max()) {
        changed_.Wait(mutex_);
      } else {
        changed_.WaitUntil(mutex_, until);
      }
      continue;
    }
    const NodeId id = *next;
    Entry& taken = entries_.at(id);
    schedule_.erase({taken.due, id});
    taken.running = true;
    ++running_;
    taken.again = false;
    const bool is_awaited =
        std::exchange(taken.is_awaited, false) || taken.waiters != 0 || finishing_;
    mutex_.Unlock();
    Result<Outcome> result = Outcome::kLeft;
    try {
      result = calls_.commit(id, is_awaited);
    } catch (const std::bad_alloc&) {
      result = Fail(ENOMEM, "no memory to commit a file");
    }
    const bool is_final = !result && calls_.has_given_up && calls_.has_given_up(id);
    mutex_.Lock();
    --running_;
    const auto it = entries_.find(id);
    const bool gone = Finish(id, it->second, std::move(result), is_final);
    if (gone && it->second.waiters == 0) {
      entries_.erase(it);
    }
    const bool idle = gone && pending_ == 0;
    changed_.NotifyAll();
    if (gone) {
      mutex_.Unlock();
      calls_.unpin(id);
      if (idle) {
        calls_.on_idle();
      }
      mutex_.Lock();
    }
  }
  mutex_.Unlock();
}

bool Committer::Finish(NodeId id, Entry& entry, Result<Outcome> result, bool is_final) {
  entry.running = false;
  ++entry.attempts;
  const Clock::time_point now = Clock::now();
  if (!result) {
    last_error_ = result.error().message;
    entry.error = std::move(result.error());
    if (is_final && !entry.again) {
      entry.finished = true;
      --pending_;
      return true;
    }
    ++entry.failures;
    Schedule(id, entry, now + DelayAfter(entry.failures));
    if (IsDiskFull(entry.error->code)) {
      ++pauses_;
      paused_until_ = now + DelayAfter(pauses_);
    }
    return false;
  }
  entry.error.reset();
  entry.failures = 0;
  if (*result == Outcome::kDone) {
    pauses_ = 0;
    paused_until_ = {};
  }
  if (*result == Outcome::kCancelled || entry.again) {
    Schedule(id, entry, now + settle_);
    return false;
  }
  entry.finished = true;
  --pending_;
  return true;
}

void Committer::End(bool finish) {
  std::vector<std::thread> threads;
  {
    MutexLock lock(mutex_);
    finishing_ = finish;
    changed_.NotifyAll();
    const auto busy = [this]() REQUIRES(mutex_) {
      return std::any_of(entries_.begin(), entries_.end(), [](const auto& entry) {
        return !entry.second.finished && (entry.second.running || entry.second.failures == 0);
      });
    };
    while (finish && !ending_ && !threads_.empty() && busy()) {
      changed_.Wait(mutex_);
    }
    ending_ = true;
    changed_.NotifyAll();
    threads.swap(threads_);
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

void Committer::Park() {
  MutexLock lock(mutex_);
  ending_ = true;
  changed_.NotifyAll();
}

std::vector<NodeId> Committer::Pending() {
  std::vector<NodeId> ids;
  MutexLock lock(mutex_);
  for (const auto& [id, entry] : entries_) {
    if (!entry.finished) {
      ids.push_back(id);
    }
  }
  return ids;
}

bool Committer::is_idle() {
  MutexLock lock(mutex_);
  return pending_ == 0;
}

Committer::Figures Committer::figures() {
  Figures figures;
  MutexLock lock(mutex_);
  figures.pending = pending_;
  for (const auto& [id, entry] : entries_) {
    figures.pending_bytes += entry.finished ? 0 : entry.plain_bytes;
  }
  figures.last_error = last_error_;
  return figures;
}

}  // namespace xzfs
