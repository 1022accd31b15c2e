// First in, first out, and dropped as soon as the last reader closes the file: `tar` lists a
// directory and then reads its files in about that order, each once. So what is here is mostly what
// is still to be read, and a directory that doesn't fit is served from memory in its last part
// rather than not at all, as a least-recently-used list would.
#include "cache/small_files.h"

#include <algorithm>
#include <utility>

namespace xzfs {
namespace {

// Beside the bytes: the entry, the vector, the table's node, what malloc adds.
constexpr size_t kBytesPerFile = 256;

}  // namespace

SmallFiles::SmallFiles(MemoryBudget& budget) : budget_(budget) {}

size_t SmallFiles::capacity_bytes() const { return std::min(budget_.total() / 16, kMostBytes); }

void SmallFiles::DropAll() {
  EntryList removed;
  MutexLock lock(mutex_);
  while (!entries_.empty()) {
    Remove(entries_.begin(), removed);
  }
}

SmallFiles::Bytes SmallFiles::Find(const Identity& identity) {
  MutexLock lock(mutex_);
  const auto it = by_identity_.find(identity);
  return it == by_identity_.end() ? nullptr : it->second->bytes;
}

SmallFiles::Bytes SmallFiles::Add(const Identity& identity, std::vector<std::byte> bytes) {
  const size_t charged = bytes.capacity() + kBytesPerFile;
  auto added = std::make_shared<const std::vector<std::byte>>(std::move(bytes));
  EntryList removed;  // freed after the lock is released
  EntryList entry;
  entry.push_back({identity, added, budget_.Reserve(charged)});
  MutexLock lock(mutex_);
  const auto [known, is_new] = by_identity_.try_emplace(identity, entry.begin());
  if (!is_new) {
    return known->second->bytes;  // another thread was faster
  }
  entries_.splice(entries_.end(), entry);
  bytes_ += charged;
  while (bytes_ > capacity_bytes() && entries_.size() > 1) {
    Remove(entries_.begin(), removed);
  }
  return added;
}

void SmallFiles::Drop(const Identity& identity) {
  EntryList removed;
  MutexLock lock(mutex_);
  if (const auto it = by_identity_.find(identity); it != by_identity_.end()) {
    Remove(it->second, removed);
  }
}

void SmallFiles::Remove(EntryList::iterator entry, EntryList& removed) {
  bytes_ -= entry->charge.bytes();
  by_identity_.erase(entry->identity);
  removed.splice(removed.end(), entries_, entry);
}

size_t SmallFiles::kept_bytes() const {
  MutexLock lock(mutex_);
  return bytes_;
}

}  // namespace xzfs
