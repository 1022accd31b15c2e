#include "fs/open_order.h"

#include <algorithm>
#include <iterator>

namespace xzfs {
namespace {

// Files between two opens that the program passed over (excluded, hot, or opened by another of its
// threads) don't end a pass.
constexpr size_t kMostPassedOver = 4;
constexpr size_t kFirstWindow = 2;

}  // namespace

void OpenOrder::Listed(NodeId dir, NodeId file) {
  MutexLock lock(mutex_);
  Directory* directory = Find(dir);
  if (directory == nullptr) {
    directories_.emplace_front().id = dir;
    by_id_.emplace(dir, directories_.begin());
    directory = &directories_.front();
  }
  while (file_count_ >= kMostFiles && directories_.size() > 1) {
    Drop(std::prev(directories_.end()));
  }
  if (file_count_ < kMostFiles &&
      directory->positions.emplace(file, directory->files.size()).second) {
    directory->files.push_back(file);
    ++file_count_;
  }
}

OpenOrder::Next OpenOrder::Opened(NodeId dir, NodeId file) {
  Next next;
  MutexLock lock(mutex_);
  Directory* const directory = Find(dir);
  if (directory == nullptr) {
    return next;
  }
  const auto found = directory->positions.find(file);
  if (found == directory->positions.end()) {
    return next;
  }
  const size_t position = found->second;
  const size_t before = directory->opened;
  directory->opened = position;
  if (before == SIZE_MAX || position <= before || position - before > kMostPassedOver) {
    directory->window = 0;
    directory->planned_end = position + 1;
    return next;
  }
  next.was_named = position < directory->planned_end;
  directory->window = std::clamp(directory->window * 2, kFirstWindow, kMostAhead);
  directory->planned_end = std::max(directory->planned_end, position + 1);
  // In portions: a file at a time would wake a thread for each.
  if (directory->planned_end - position > directory->window / 2 + 1) {
    return next;
  }
  const size_t end = std::min(position + 1 + directory->window, directory->files.size());
  for (size_t i = directory->planned_end; i < end; ++i) {
    next.files.push_back({dir, i, directory->files[i]});
  }
  directory->planned_end = std::max(directory->planned_end, end);
  return next;
}

bool OpenOrder::IsAhead(const Place& place) {
  MutexLock lock(mutex_);
  const auto it = by_id_.find(place.dir);
  return it != by_id_.end() && it->second->opened != SIZE_MAX &&
         it->second->opened < place.position && place.position - it->second->opened <= kMostAhead;
}

void OpenOrder::Forget(NodeId dir) {
  MutexLock lock(mutex_);
  if (const auto it = by_id_.find(dir); it != by_id_.end()) {
    Drop(it->second);
  }
}

// Null if it isn't known.
OpenOrder::Directory* OpenOrder::Find(NodeId dir) {
  const auto it = by_id_.find(dir);
  if (it == by_id_.end()) {
    return nullptr;
  }
  directories_.splice(directories_.begin(), directories_, it->second);
  return &*it->second;
}

void OpenOrder::Drop(DirectoryList::iterator directory) {
  file_count_ -= directory->files.size();
  by_id_.erase(directory->id);
  directories_.erase(directory);
}

}  // namespace xzfs
