// All threads run the same loop (Run). It takes the next file that is due, commits it without the
// lock, notes the result, and tells the callers that waited for it. CommitQueue knows which file is
// due, and CommitWaits which callers wait; the mutex guards both. The functions of others are
// called without the lock, since they may call the committer again.
//
// What follows an attempt (Finish):
//   - done, or nothing to do: the file leaves the queue, unless it was added or waited for
//     meanwhile (`again`).
//   - cancelled: the file settles again.
//   - failed: the file is tried again later, or at once for a caller that came during the attempt.
//     If another attempt can't help, the file leaves the queue in the same way.
//
// The queue holds one pin for each file in it. If a file is in the queue already, the pin of the
// new call is given back. At the end with kWhenDone each file that hasn't failed is tried. Then no
// attempt begins, all waits end with ESHUTDOWN, and what is left is for the next mount.
#include "fs/committer.h"

#include <algorithm>
#include <cerrno>
#include <future>
#include <memory>
#include <new>
#include <system_error>
#include <utility>

#include "base/fail.h"

namespace xzfs {
namespace {

bool IsDiskFull(int code) { return code == ENOSPC || code == EDQUOT; }

Error IsEnding() {
  return {ErrorKind::kSystem, ESHUTDOWN,
          "the mount is ending: pending files are committed at the next mount"};
}

// Calls `wait` with a function, and blocks until that is called.
template <class Wait>
Status AwaitDone(Wait wait) {
  const auto told = std::make_shared<std::promise<Status>>();
  wait([told](const Status& status) { told->set_value(status); });
  return told->get_future().get();
}

}  // namespace

Committer::Committer(unsigned threads, std::chrono::nanoseconds settle, Calls calls)
    : calls_(std::move(calls)), thread_count_(threads), queue_(settle) {}

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
    // There can't be more threads: those that were started do the work.
  }
}

void Committer::SetSettle(std::chrono::nanoseconds settle) {
  MutexLock lock(mutex_);
  queue_.SetSettle(settle);
}

void Committer::SetThreads(unsigned count) {
  MutexLock lock(mutex_);
  thread_count_ = count;
  if (!threads_.empty() && !ending_) {
    StartThreads();
  }
  changed_.NotifyAll();
}

void Committer::Add(NodeId id, uint64_t plain_bytes, CommitFor whom) {
  const bool pinned = calls_.pin(id);
  bool is_new = false;
  if (pinned) {
    MutexLock lock(mutex_);
    is_new = Enter(id, plain_bytes);
    if (whom == CommitFor::kCaller && !ending_) {
      queue_.At(id).is_awaited = true;
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
  const auto [entry, is_new] = queue_.Enter(id, plain_bytes);
  if (is_new) {
    waits_.Enter(entry->waits);
  }
  ScheduleSettled(id, *entry);
  return is_new;
}

void Committer::ScheduleSettled(NodeId id, CommitQueue::Entry& entry) {
  if (waits_.IsWaitedFor(entry.waits)) {
    queue_.ScheduleNow(id, entry);
  } else {
    queue_.ScheduleSettled(id, entry);
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
      CommitQueue::Entry& entry = queue_.At(id);
      waits_.Add(entry.waits, done);
      entry.again |= entry.running;
      queue_.ScheduleNow(id, entry);
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

void Committer::Sync(Done done) {
  Status status;
  {
    MutexLock lock(mutex_);
    if (ending_ && !queue_.empty()) {
      status = Failure(IsEnding());
    } else if (!queue_.empty()) {
      if (waits_.AddSync(queue_.entries().size(), std::move(done))) {
        for (auto& [id, entry] : queue_.entries()) {
          entry.again |= entry.running;
          queue_.ScheduleNow(id, entry);
        }
        changed_.NotifyAll();
      }
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

void Committer::EndAllWaits(CommitWaits::Ended& ended) {
  for (auto& [id, entry] : queue_.entries()) {
    CommitWaits::EndOwn(entry.waits, Failure(IsEnding()), ended);
  }
  waits_.EndSyncs(Failure(IsEnding()), ended);
}

void Committer::Tell(CommitWaits::Ended& ended) {
  for (auto& [done, status] : std::exchange(ended, {})) {
    done(status);
  }
}

void Committer::Run() {
  mutex_.Lock();
  while (!ending_) {
    if (running_ >= thread_count_) {
      changed_.Wait(mutex_);
      continue;
    }
    auto until = CommitQueue::Clock::time_point::max();
    const auto next = finishing_ ? queue_.NextAtEnd() : queue_.NextDue(&until);
    if (!next) {
      if (until == CommitQueue::Clock::time_point::max()) {
        changed_.Wait(mutex_);
      } else {
        changed_.WaitUntil(mutex_, until);
      }
      continue;
    }
    const NodeId id = *next;
    CommitQueue::Entry& taken = queue_.Take(id);
    waits_.Begin(taken.waits);
    ++running_;
    const bool is_awaited =
        std::exchange(taken.is_awaited, false) || waits_.IsWaitedFor(taken.waits) || finishing_;
    mutex_.Unlock();
    Result<Outcome> result = Outcome::kLeft;
    try {
      result = calls_.commit(id, is_awaited ? CommitFor::kCaller : CommitFor::kNobody);
    } catch (const std::bad_alloc&) {
      result = Fail(ENOMEM, "no memory to commit a file");
    }
    const bool is_final = !result && calls_.has_given_up && calls_.has_given_up(id);
    CommitWaits::Ended ended;
    mutex_.Lock();
    --running_;
    const bool gone = Finish(id, queue_.At(id), std::move(result), is_final, ended);
    if (gone) {
      queue_.Remove(id);
    }
    const bool idle = gone && queue_.empty();
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

bool Committer::Finish(NodeId id, CommitQueue::Entry& entry, Result<Outcome> result, bool is_final,
                       CommitWaits::Ended& ended) {
  entry.running = false;
  if (!result && is_final) {
    last_error_ = result.error().message;
    if (!entry.again) {
      waits_.EndAllOf(entry.waits, Failure(result.error()), ended);
      return true;
    }
    waits_.EndEarlier(entry.waits, Failure(result.error()), ended);
    queue_.ScheduleNow(id, entry);  // the file may have changed
    return false;
  }
  if (!result) {
    last_error_ = result.error().message;
    ++entry.failures;
    if (IsDiskFull(result.error().code)) {
      queue_.Pause();
    }
    waits_.EndEarlier(entry.waits, Failure(result.error()), ended);
    if (waits_.IsWaitedFor(entry.waits)) {
      queue_.ScheduleNow(id, entry);
    } else {
      queue_.ScheduleRetry(id, entry);
    }
    return false;
  }
  entry.failures = 0;
  if (*result == Outcome::kDone) {
    queue_.EndPause();
  }
  if (*result == Outcome::kCancelled || entry.again) {
    ScheduleSettled(id, entry);
    return false;
  }
  waits_.EndAllOf(entry.waits, {}, ended);
  return true;
}

void Committer::End(Ending ending) {
  std::vector<std::thread> threads;
  CommitWaits::Ended ended;
  {
    MutexLock lock(mutex_);
    finishing_ = ending == Ending::kWhenDone;
    changed_.NotifyAll();
    const auto busy = [this]() REQUIRES(mutex_) {
      return std::any_of(queue_.entries().begin(), queue_.entries().end(), [](const auto& entry) {
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
  CommitWaits::Ended ended;
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
  for (const auto& [id, entry] : queue_.entries()) {
    ids.push_back(id);
  }
  return ids;
}

bool Committer::is_idle() {
  MutexLock lock(mutex_);
  return queue_.empty();
}

Committer::Figures Committer::figures() {
  Figures figures;
  MutexLock lock(mutex_);
  figures.pending = queue_.entries().size();
  for (const auto& [id, entry] : queue_.entries()) {
    figures.pending_bytes += entry.plain_bytes;
  }
  figures.last_error = last_error_;
  return figures;
}

}  // namespace xzfs
