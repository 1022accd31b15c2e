// Requests that wait for an event, and hold no thread until then.
#pragma once

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fuse_lowlevel.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"

namespace xzfs {

enum class AttemptKind { kMayWait, kLast };

// A parked request is answered by End when its wait ends, by its next attempt (Retry), or by its
// `on_interrupt` if its process gets a signal. Thread-safe.
//
// Their number is only limited by the kernel: for each there is a waiting thread of some process.
class WaitingRequests {
 public:
  using Ticket = uint64_t;
  // Answers the request. Called once, without a lock.
  using Reply = std::function<void(fuse_req_t)>;
  // Answers the request and returns true, or returns false: not yet. The last one must answer.
  using Attempt = std::function<bool(fuse_req_t, AttemptKind)>;

  WaitingRequests() = default;
  ~WaitingRequests() { Stop(); }
  WaitingRequests(const WaitingRequests&) = delete;
  WaitingRequests& operator=(const WaitingRequests&) = delete;

  // After this End must be called once. `on_interrupt` answers the request if it is interrupted
  // before; null: a signal doesn't end the wait.
  Ticket Park(fuse_req_t req, Reply on_interrupt) EXCLUDES(mutex_);
  // Answers the request, on the calling thread. False: it was interrupted, and has been answered.
  bool End(Ticket ticket, const Reply& reply) EXCLUDES(mutex_);

  // Calls the attempt again and again, on a thread of our own, until the request is answered; the
  // last time a minute from now. EINTR if it is interrupted.
  void Retry(fuse_req_t req, Attempt attempt) EXCLUDES(mutex_);

  // Whether the request was not answered yet.
  bool IsParked(Ticket ticket) EXCLUDES(mutex_);

  // Call it before the first request.
  void Start() EXCLUDES(mutex_);
  // Blocks until all are answered. REQUIRES: the session's threads have ended, so no more come.
  void Stop() EXCLUDES(mutex_);

 private:
  using Clock = std::chrono::steady_clock;

  struct Parked {
    fuse_req_t req = nullptr;
    Reply on_interrupt = nullptr;
    Attempt attempt = nullptr;
    Clock::time_point begun = {};
    // The request is just being parked: it must not be answered yet.
    bool is_held = true;
    bool interrupted = false;
  };

  static void OnInterrupt(fuse_req_t req, void* data);
  void NoteInterrupt(Ticket ticket) EXCLUDES(mutex_);
  Ticket Add(Parked parked) EXCLUDES(mutex_);
  void Run() EXCLUDES(mutex_);
  void AnswerInterrupted() REQUIRES(mutex_);
  void AttemptDue() REQUIRES(mutex_);

  Mutex mutex_;
  CondVar changed_;
  Ticket last_ GUARDED_BY(mutex_) = 0;
  std::unordered_map<Ticket, Parked> parked_ GUARDED_BY(mutex_);
  // For our thread.
  std::vector<Ticket> interrupted_ GUARDED_BY(mutex_);
  std::multimap<Clock::time_point, Ticket> attempts_ GUARDED_BY(mutex_);
  unsigned answering_ GUARDED_BY(mutex_) = 0;  // in End
  bool running_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace xzfs
