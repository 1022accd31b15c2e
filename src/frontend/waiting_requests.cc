// libfuse calls back for an interrupt with the request's lock held, and may do so while another
// thread parks or answers the request. So the callback only notes the ticket, which has no meaning
// after the request was answered; our thread does the rest.
#include "frontend/waiting_requests.h"

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "frontend/fuse_operations.h"

namespace xzfs {
namespace {

// The kernel breaks leases after 45 s.
constexpr std::chrono::seconds kLongestRetry{60};
constexpr std::chrono::milliseconds kShortestPause{2};
constexpr std::chrono::milliseconds kLongestPause{100};

}  // namespace

void WaitingRequests::Start() {
  MutexLock lock(mutex_);
  try {
    thread_ = std::thread([this] { Run(); });
    running_ = true;
  } catch (const std::system_error&) {
    // There can't be more threads: nothing is retried, and interrupts are not seen.
  }
}

void WaitingRequests::Stop() {
  {
    MutexLock lock(mutex_);
    while (!parked_.empty() || answering_ != 0) {
      changed_.Wait(mutex_);
    }
    running_ = false;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) {
    thread_.join();
  }
}

void WaitingRequests::OnInterrupt(fuse_req_t req, void* data) {
  FuseOperations::WaitingOf(req).NoteInterrupt(reinterpret_cast<Ticket>(data));
}

void WaitingRequests::NoteInterrupt(Ticket ticket) {
  MutexLock lock(mutex_);
  const auto it = parked_.find(ticket);
  if (it == parked_.end()) {
    return;
  }
  it->second.interrupted = true;
  if (!it->second.is_held) {
    interrupted_.push_back(ticket);
    changed_.NotifyAll();
  }
}

WaitingRequests::Ticket WaitingRequests::Add(Parked parked) {
  const fuse_req_t req = parked.req;
  const bool may_be_interrupted = parked.on_interrupt != nullptr;
  Ticket ticket = 0;
  {
    MutexLock lock(mutex_);
    ticket = ++last_;
    parked_.emplace(ticket, std::move(parked));
  }
  if (may_be_interrupted) {
    // May call back at once.
    fuse_req_interrupt_func(req, OnInterrupt, reinterpret_cast<void*>(ticket));
  }
  MutexLock lock(mutex_);
  Parked& added = parked_.at(ticket);
  added.is_held = false;
  if (added.attempt != nullptr) {
    attempts_.emplace(added.begun + kShortestPause, ticket);
  }
  if (added.interrupted) {
    interrupted_.push_back(ticket);
  }
  changed_.NotifyAll();
  return ticket;
}

WaitingRequests::Ticket WaitingRequests::Park(fuse_req_t req, Reply on_interrupt) {
  return Add({.req = req, .on_interrupt = std::move(on_interrupt)});
}

bool WaitingRequests::End(Ticket ticket, const Reply& reply) {
  Parked ended;
  {
    MutexLock lock(mutex_);
    auto found = parked_.extract(ticket);
    if (found.empty()) {
      return false;
    }
    ended = std::move(found.mapped());
    ++answering_;
  }
  reply(ended.req);
  MutexLock lock(mutex_);
  --answering_;
  changed_.NotifyAll();
  return true;
}

void WaitingRequests::Retry(fuse_req_t req, Attempt attempt) {
  bool may_wait = false;
  {
    MutexLock lock(mutex_);
    may_wait = running_;
  }
  if (!may_wait) {
    attempt(req, AttemptKind::kLast);
    return;
  }
  Add({.req = req,
       .on_interrupt = [](fuse_req_t interrupted) { fuse_reply_err(interrupted, EINTR); },
       .attempt = std::move(attempt),
       .begun = Clock::now()});
}

bool WaitingRequests::IsParked(Ticket ticket) {
  MutexLock lock(mutex_);
  return parked_.contains(ticket);
}

void WaitingRequests::AnswerInterrupted() {
  for (const Ticket ticket : std::exchange(interrupted_, {})) {
    if (auto found = parked_.extract(ticket)) {
      mutex_.Unlock();
      found.mapped().on_interrupt(found.mapped().req);
      mutex_.Lock();
    }
  }
}

void WaitingRequests::AttemptDue() {
  const auto now = Clock::now();
  while (!attempts_.empty() && attempts_.begin()->first <= now && interrupted_.empty()) {
    const Ticket ticket = attempts_.extract(attempts_.begin()).mapped();
    const auto it = parked_.find(ticket);
    if (it == parked_.end()) {
      continue;
    }
    // Only this thread can answer it now.
    const Parked& parked = it->second;
    const auto waited = now - parked.begun;
    mutex_.Unlock();
    const bool answered = parked.attempt(
        parked.req, waited < kLongestRetry ? AttemptKind::kMayWait : AttemptKind::kLast);
    mutex_.Lock();
    if (answered) {
      parked_.erase(ticket);
    } else {
      attempts_.emplace(
          Clock::now() + std::clamp<Clock::duration>(waited / 8, kShortestPause, kLongestPause),
          ticket);
    }
  }
}

void WaitingRequests::Run() {
  MutexLock lock(mutex_);
  while (running_ || !parked_.empty()) {
    if (interrupted_.empty() && attempts_.empty()) {
      changed_.Wait(mutex_);
    } else if (interrupted_.empty() && attempts_.begin()->first > Clock::now()) {
      changed_.WaitUntil(mutex_, attempts_.begin()->first);
    }
    AnswerInterrupted();
    AttemptDue();
    changed_.NotifyAll();
  }
}

}  // namespace xzfs
