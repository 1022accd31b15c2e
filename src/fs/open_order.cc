#include "fs/open_order.h"

#include <algorithm>
#include <iterator>

namespace xzfs {
namespace {

// How many files a program may skip between two opens (excluded, plain, or opened by another of its
// threads) without ending the pass.
constexpr size_t kMostPassedOver = 4;
constexpr size_t kFirstWindow = 2;
constexpr size_t kWalkWindow = 8;
constexpr size_t kNone = SIZE_MAX;

// A walk is in several directories at once, one for each level.
constexpr size_t kMostDirectories = 64;

}  // namespace

std::vector<OpenOrder::Place> OpenOrder::Listed(NodeId dir, std::span<const NodeId> files) {
  MutexLock lock(mutex_);
  Directory& directory = FindOrAdd(dir);
  const bool is_new = directory.files.empty();
  for (const NodeId file : files) {
    if (file_count_ < kMostFiles &&
        directory.positions.emplace(file, directory.files.size()).second) {
      directory.files.push_back(file);
      ++file_count_;
    }
  }
  if (!walking_ || !is_new || directory.files.empty()) {
    return {};
  }
  // A walk opens files of a directory before it lists many others.
  walking_ = std::none_of(directories_.begin(), directories_.end(), [](const Directory& listed) {
    return listed.foreseen && listed.opened == kNone;
  });
  if (!walking_) {
    return {};
  }
  directory.foreseen = true;
  directory.window = kWalkWindow;
  return Name(directory, kWalkWindow);
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
  next.was_named = position < directory->planned_end && (before == kNone || position > before);
  const bool in_order = before == kNone ? directory->foreseen && position <= kMostPassedOver
                                        : position > before && position - before <= kMostPassedOver;
  if (!in_order) {
    directory->window = 0;
    directory->planned_end = position + 1;
    return next;
  }
  walking_ = true;
  directory->window = std::clamp(directory->window * 2, kFirstWindow, kMostAhead);
  directory->planned_end = std::max(directory->planned_end, position + 1);
  // In groups: single files would wake a thread for each.
  if (directory->planned_end - position <= directory->window / 2 + 1) {
    next.files = Name(*directory, position + 1 + directory->window);
  }
  return next;
}

// The files up to `end` that were not named yet.
std::vector<OpenOrder::Place> OpenOrder::Name(Directory& directory, size_t end) {
  std::vector<Place> places;
  end = std::min(end, directory.files.size());
  for (size_t i = directory.planned_end; i < end; ++i) {
    places.push_back({directory.id, i, directory.files[i]});
  }
  directory.planned_end = std::max(directory.planned_end, end);
  return places;
}

bool OpenOrder::IsAhead(const Place& place) {
  MutexLock lock(mutex_);
  const auto it = by_id_.find(place.dir);
  if (it == by_id_.end()) {
    return false;
  }
  const size_t opened = it->second->opened;
  return opened == kNone ? place.position < kWalkWindow
                         : opened < place.position && place.position - opened <= kMostAhead;
}

void OpenOrder::Forget(NodeId dir) {
  MutexLock lock(mutex_);
  if (const auto it = by_id_.find(dir); it != by_id_.end()) {
    Drop(it->second);
  }
}

// Null if the directory isn't known.
OpenOrder::Directory* OpenOrder::Find(NodeId dir) {
  const auto it = by_id_.find(dir);
  if (it == by_id_.end()) {
    return nullptr;
  }
  directories_.splice(directories_.begin(), directories_, it->second);
  return &*it->second;
}

OpenOrder::Directory& OpenOrder::FindOrAdd(NodeId dir) {
  if (Directory* const found = Find(dir)) {
    return *found;
  }
  while ((file_count_ >= kMostFiles || directories_.size() >= kMostDirectories) &&
         !directories_.empty()) {
    Drop(std::prev(directories_.end()));
  }
  directories_.emplace_front().id = dir;
  by_id_.emplace(dir, directories_.begin());
  return directories_.front();
}

void OpenOrder::Drop(DirectoryList::iterator directory) {
  file_count_ -= directory->files.size();
  by_id_.erase(directory->id);
  directories_.erase(directory);
}

}  // namespace xzfs
