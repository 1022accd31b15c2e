#include "fs/listing.h"

#include <functional>

namespace xzfs {
namespace {

size_t HashOf(const std::string& name) { return std::hash<std::string>()(name); }

}  // namespace

Listing::~Listing() { table_.Close(dir_, this); }

void Listing::Restart() {
  MutexLock lock(mutex_);
  shown_.clear();
  moved_.clear();
}

void Listing::NoteMove(const std::string& name) {
  MutexLock lock(mutex_);
  if (moved_.size() < kMostNames) {
    moved_.insert(name);
  }
}

bool Listing::IsDue(const std::string& name) {
  MutexLock lock(mutex_);
  return !moved_.contains(name) || !shown_.contains(HashOf(name));
}

void Listing::NoteShown(const std::string& name, bool may_move) {
  MutexLock lock(mutex_);
  if ((may_move && shown_.size() < kMostNames) || moved_.contains(name)) {
    shown_.insert(HashOf(name));
  }
}

std::vector<std::string> Listing::Missed() {
  std::vector<std::string> missed;
  MutexLock lock(mutex_);
  for (const std::string& name : moved_) {
    if (!shown_.contains(HashOf(name))) {
      missed.push_back(name);
    }
  }
  return missed;
}

std::shared_ptr<Listing> ListingTable::Open(NodeId dir) {
  auto listing = std::make_shared<Listing>(*this, dir);
  MutexLock lock(mutex_);
  listings_.emplace(dir, listing.get());
  return listing;
}

void ListingTable::Close(NodeId dir, const Listing* listing) {
  MutexLock lock(mutex_);
  const auto [begin, end] = listings_.equal_range(dir);
  for (auto it = begin; it != end; ++it) {
    if (it->second == listing) {
      listings_.erase(it);
      return;
    }
  }
}

void ListingTable::NoteMove(NodeId dir, const std::string& name) {
  MutexLock lock(mutex_);
  const auto [begin, end] = listings_.equal_range(dir);
  for (auto it = begin; it != end; ++it) {
    it->second->NoteMove(name);
  }
}

}  // namespace xzfs
