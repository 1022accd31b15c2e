#include "fs/commit_waits.h"

#include <algorithm>
#include <limits>

namespace xzfs {

bool CommitWaits::IsWaitedFor(const File& file) const {
  return !file.waiters_.empty() || (!syncs_.empty() && syncs_.rbegin()->first > file.owes_since_);
}

void CommitWaits::Add(File& file, Done done) {
  file.waiters_.push_back({++now_, std::move(done), std::make_unique<AwaitedWork>()});
}

// Many callers may wait, and many files may be pending: waits at one moment share an entry.
bool CommitWaits::AddSync(size_t pending, Done done) {
  const bool is_new = syncs_.empty() || syncs_.rbegin()->first != now_;
  if (is_new) {
    syncs_[++now_].owed = pending;
  }
  syncs_.rbegin()->second.done.push_back(std::move(done));
  return is_new;
}

void CommitWaits::EndEarlier(File& file, const Status& status, Ended& ended) {
  EndBefore(file, file.began_, status, ended);
}

void CommitWaits::EndAllOf(File& file, const Status& status, Ended& ended) {
  EndBefore(file, std::numeric_limits<Moment>::max(), status, ended);
}

// Ends the waits for this file of callers that began before `until`.
void CommitWaits::EndBefore(File& file, Moment until, const Status& status, Ended& ended) {
  const auto ends =
      std::partition(file.waiters_.begin(), file.waiters_.end(),
                     [until](const File::Waiter& waiter) { return waiter.since >= until; });
  for (auto it = ends; it != file.waiters_.end(); ++it) {
    ended.emplace_back(std::move(it->done), status);
  }
  file.waiters_.erase(ends, file.waiters_.end());
  for (auto it = syncs_.upper_bound(file.owes_since_); it != syncs_.end() && it->first < until;) {
    Sync& sync = it->second;
    if (sync.status && !status) {
      sync.status = status;
    }
    if (--sync.owed != 0) {
      ++it;
      continue;
    }
    for (Done& done : sync.done) {
      ended.emplace_back(std::move(done), sync.status);
    }
    it = syncs_.erase(it);
  }
  file.owes_since_ = std::max(file.owes_since_, until);
}

void CommitWaits::EndOwn(File& file, const Status& status, Ended& ended) {
  for (File::Waiter& waiter : std::exchange(file.waiters_, {})) {
    ended.emplace_back(std::move(waiter.done), status);
  }
}

void CommitWaits::EndSyncs(const Status& status, Ended& ended) {
  for (auto& [moment, sync] : std::exchange(syncs_, {})) {
    for (Done& done : sync.done) {
      ended.emplace_back(std::move(done), status);
    }
  }
}

}  // namespace xzfs
