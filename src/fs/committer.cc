#include "fs/committer.h"

#include <algorithm>
#include <cerrno>
#include <future>
#include <limits>
#include <memory>
#include <new>
#include <system_error>
#include <utility>

#include "base/fail.h"

namespace xzfs {
namespace {

using std::chrono::seconds;

// After the n-th failure in a row: 2 s, 4 s, ... about 4 minutes.
constexpr unsigned kMostDoublings = 7;
seconds DelayAfter(unsigned failures) {
  return seconds(int64_t{2} << std::min(failures - 1, kMostDoublings));
}

// So many times longer than it settles a file waits at most for others that are being written.
constexpr int kMostSettles = 10;

bool IsDiskFull(int code) { return code == ENOSPC || code == EDQUOT; }

Error IsEnding() {
  return {ErrorKind::kSystem, ESHUTDOWN,
          "the mount is ending: what is pending is committed at the next one"};
}

// Calls `wait` with what is to be told, and waits for that.
template <class Wait>
Status AwaitDone(Wait wait) {
  const auto told = std::make_shared<std::promise<Status>>();
  wait([told](const Status& status) { told->set_value(status); });
  return told->get_future().get();
}

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
      threads_.emplace_back([this] { Run(); });
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
  const auto [found, is_new] = entries_.try_emplace(id);
  Entry& entry = found->second;
  entry.plain_bytes = plain_bytes;
  entry.again = entry.running;
  entry.failures = 0;
  last_entered_ = Clock::now();
  if (is_new) {
    entry.entered = last_entered_;
    entry.owes_since = ++now_;
  }
  Schedule(id, entry, IsWaitedFor(entry) ? Clock::time_point() : last_entered_ + settle_);
  return is_new;
}

void Committer::Schedule(NodeId id, Entry& entry, Clock::time_point due) {
  schedule_.erase({entry.due, id});
  entry.due = due;
  if (!entry.running) {
    schedule_.emplace(due, id);
  }
}

void Committer::CommitNow(NodeId id, uint64_t plain_bytes, const Done& done) {
  if (!calls_.pin(id)) {
    done({});
    return;
  }
  bool is_new = false;
  bool is_ending = false;
  {
    MutexLock lock(mutex_);
    is_new = Enter(id, plain_bytes);
    is_ending = ending_;
    if (!is_ending) {
      Entry& entry = entries_.at(id);
      entry.waiters.push_back({++now_, done, std::make_unique<AwaitedWork>()});
      entry.again |= entry.running;
      Schedule(id, entry, {});
      changed_.NotifyAll();
    }
  }
  if (!is_new) {
    calls_.unpin(id);
  }
  if (is_ending) {
    done(Failure(IsEnding()));
  }
}

// A caller that asks while nothing has happened since the last one waits with that one: many may
// ask, and many files may be pending.
void Committer::Sync(Done done) {
  Status status;
  {
    MutexLock lock(mutex_);
    if (ending_ && !entries_.empty()) {
      status = Failure(IsEnding());
    } else if (!entries_.empty()) {
      if (syncs_.empty() || syncs_.rbegin()->first != now_) {
        SyncWait& wait = syncs_[++now_];
        wait.owed = entries_.size();
        for (auto& [id, entry] : entries_) {
          entry.again |= entry.running;
          if (entry.due != Clock::time_point()) {
            Schedule(id, entry, {});
          }
        }
        changed_.NotifyAll();
      }
      syncs_.rbegin()->second.done.push_back(std::move(done));
      return;
    }
  }
  done(status);
}

Status Committer::CommitNow(NodeId id, uint64_t plain_bytes) {
  return AwaitDone([&](const Done& done) { CommitNow(id, plain_bytes, done); });
}

Status Committer::Sync() {
  return AwaitDone([&](Done done) { Sync(std::move(done)); });
}

bool Committer::IsWaitedFor(const Entry& entry) const {
  return !entry.waiters.empty() || (!syncs_.empty() && syncs_.rbegin()->first > entry.owes_since);
}

void Committer::EndWaits(Entry& entry, Moment until, const Status& status, Ended& ended) {
  const auto stays =
      std::partition(entry.waiters.begin(), entry.waiters.end(),
                     [until](const Waiter& waiter) { return waiter.since >= until; });
  for (auto it = stays; it != entry.waiters.end(); ++it) {
    ended.emplace_back(std::move(it->done), status);
  }
  entry.waiters.erase(stays, entry.waiters.end());
  for (auto it = syncs_.upper_bound(entry.owes_since); it != syncs_.end() && it->first < until;) {
    SyncWait& wait = it->second;
    if (wait.status && !status) {
      wait.status = status;
    }
    if (--wait.owed != 0) {
      ++it;
      continue;
    }
    for (Done& done : wait.done) {
      ended.emplace_back(std::move(done), wait.status);
    }
    it = syncs_.erase(it);
  }
  entry.owes_since = std::max(entry.owes_since, until);
}

void Committer::EndAllWaits(Ended& ended) {
  for (auto& [id, entry] : entries_) {
    for (Waiter& waiter : std::exchange(entry.waiters, {})) {
      ended.emplace_back(std::move(waiter.done), Failure(IsEnding()));
    }
  }
  for (auto& [moment, wait] : std::exchange(syncs_, {})) {
    for (Done& done : wait.done) {
      ended.emplace_back(std::move(done), Failure(IsEnding()));
    }
  }
}

void Committer::Tell(Ended& ended) {
  for (auto& [done, status] : std::exchange(ended, {})) {
    done(status);
  }
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
    taken.began = ++now_;
    ++running_;
    taken.again = false;
    const bool is_awaited =
        std::exchange(taken.is_awaited, false) || IsWaitedFor(taken) || finishing_;
    mutex_.Unlock();
    Result<Outcome> result = Outcome::kLeft;
    try {
      result = calls_.commit(id, is_awaited);
    } catch (const std::bad_alloc&) {
      result = Fail(ENOMEM, "no memory to commit a file");
    }
    const bool is_final = !result && calls_.has_given_up && calls_.has_given_up(id);
    Ended ended;
    mutex_.Lock();
    --running_;
    const auto it = entries_.find(id);
    const bool gone = Finish(id, it->second, std::move(result), is_final, ended);
    if (gone) {
      entries_.erase(it);
    }
    const bool idle = gone && entries_.empty();
    changed_.NotifyAll();
    if (gone || !ended.empty()) {
      mutex_.Unlock();
      Tell(ended);
      if (gone) {
        calls_.unpin(id);
      }
      if (idle) {
        calls_.on_idle();
      }
      mutex_.Lock();
    }
  }
  mutex_.Unlock();
}

bool Committer::Finish(NodeId id, Entry& entry, Result<Outcome> result, bool is_final,
                       Ended& ended) {
  entry.running = false;
  const Clock::time_point now = Clock::now();
  if (!result) {
    const Error& error = result.error();
    last_error_ = error.message;
    if (is_final) {
      EndWaits(entry, entry.again ? entry.began : std::numeric_limits<Moment>::max(),
               Failure(error), ended);
      if (entry.again) {
        Schedule(id, entry, {});  // there may be something new
      }
      return !entry.again;
    }
    ++entry.failures;
    if (IsDiskFull(error.code)) {
      ++pauses_;
      paused_until_ = now + DelayAfter(pauses_);
    }
    EndWaits(entry, entry.began, Failure(error), ended);
    Schedule(id, entry,
             IsWaitedFor(entry) ? Clock::time_point() : now + DelayAfter(entry.failures));
    return false;
  }
  entry.failures = 0;
  if (*result == Outcome::kDone) {
    pauses_ = 0;
    paused_until_ = {};
  }
  if (*result == Outcome::kCancelled || entry.again) {
    Schedule(id, entry, IsWaitedFor(entry) ? Clock::time_point() : now + settle_);
    return false;
  }
  EndWaits(entry, std::numeric_limits<Moment>::max(), {}, ended);
  return true;
}

void Committer::End(Ending ending) {
  std::vector<std::thread> threads;
  Ended ended;
  {
    MutexLock lock(mutex_);
    finishing_ = ending == Ending::kWhenDone;
    changed_.NotifyAll();
    const auto busy = [this]() REQUIRES(mutex_) {
      return std::any_of(entries_.begin(), entries_.end(), [](const auto& entry) {
        return entry.second.running || entry.second.failures == 0;
      });
    };
    while (ending == Ending::kWhenDone && !ending_ && !threads_.empty() && busy()) {
      changed_.Wait(mutex_);
    }
    ending_ = true;
    changed_.NotifyAll();
    threads.swap(threads_);
    EndAllWaits(ended);
  }
  Tell(ended);
  for (std::thread& thread : threads) {
    thread.join();
  }
}

void Committer::Park() {
  Ended ended;
  {
    MutexLock lock(mutex_);
    ending_ = true;
    changed_.NotifyAll();
    EndAllWaits(ended);
  }
  Tell(ended);
}

std::vector<NodeId> Committer::Pending() {
  std::vector<NodeId> ids;
  MutexLock lock(mutex_);
  for (const auto& [id, entry] : entries_) {
    ids.push_back(id);
  }
  return ids;
}

bool Committer::is_idle() {
  MutexLock lock(mutex_);
  return entries_.empty();
}

Committer::Figures Committer::figures() {
  Figures figures;
  MutexLock lock(mutex_);
  figures.pending = entries_.size();
  for (const auto& [id, entry] : entries_) {
    figures.pending_bytes += entry.plain_bytes;
  }
  figures.last_error = last_error_;
  return figures;
}

}  // namespace xzfs
