#include "fs/commit_failures.h"

#include <utility>

namespace xzfs {

std::optional<CommitFailures::Failure> CommitFailures::Note(Failure failure) {
  MutexLock lock(mutex_);
  given_up_ += failure.is_given_up ? 1 : 0;
  const NodeId node = failure.node;
  const auto [at, is_new] = failures_.try_emplace(node, std::move(failure));
  if (is_new) {
    return std::nullopt;
  }
  given_up_ -= at->second.is_given_up ? 1 : 0;
  return std::exchange(at->second, std::move(failure));
}

std::optional<CommitFailures::Failure> CommitFailures::Clear(NodeId node) {
  MutexLock lock(mutex_);
  auto found = failures_.extract(node);
  if (found.empty()) {
    return std::nullopt;
  }
  given_up_ -= found.mapped().is_given_up ? 1 : 0;
  return std::move(found.mapped());
}

std::optional<CommitFailures::Failure> CommitFailures::Find(NodeId node) {
  MutexLock lock(mutex_);
  const auto at = failures_.find(node);
  return at == failures_.end() ? std::nullopt : std::optional(at->second);
}

std::vector<CommitFailures::Failure> CommitFailures::First(size_t most) {
  std::vector<Failure> first;
  MutexLock lock(mutex_);
  for (const auto& [node, failure] : failures_) {
    if (first.size() == most) {
      break;
    }
    first.push_back(failure);
  }
  return first;
}

size_t CommitFailures::count() {
  MutexLock lock(mutex_);
  return failures_.size();
}

size_t CommitFailures::given_up() {
  MutexLock lock(mutex_);
  return given_up_;
}

}  // namespace xzfs
