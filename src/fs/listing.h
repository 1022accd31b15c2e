// What one open directory has shown.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/mutex.h"
#include "fs/node.h"

namespace xzfs {

// A commit moves a file to another line of the source's directory while a program may be listing
// it. This remembers what was shown, so that the program neither misses the file nor sees it twice.
// It remembers only plain files, since no others move, and at most kMostNames: beyond that a file
// may be missed or shown twice. Thread-safe.
class Listing {
 public:
  Listing(class ListingTable& table, NodeId dir) : table_(table), dir_(dir) {}
  ~Listing();
  Listing(const Listing&) = delete;
  Listing& operator=(const Listing&) = delete;

  // 8 bytes each, and the overhead of a set: 10 MiB. Directories that large are written long before
  // they are listed.
  static constexpr size_t kMostNames = size_t{1} << 18;

  // The listing begins again.
  void Restart() EXCLUDES(mutex_);
  // A commit has moved `name` to another line.
  void NoteMove(const std::string& name) EXCLUDES(mutex_);
  // Whether the file is still to be shown.
  bool IsDue(const std::string& name) EXCLUDES(mutex_);
  // The file is shown. `may_move`: it is plain.
  void NoteShown(const std::string& name, bool may_move) EXCLUDES(mutex_);
  // The files that moved and were not shown. The caller looks for them after the last line.
  std::vector<std::string> Missed() EXCLUDES(mutex_);

 private:
  ListingTable& table_;
  const NodeId dir_;
  Mutex mutex_;
  std::unordered_set<size_t> shown_ GUARDED_BY(mutex_);  // hashes
  std::set<std::string> moved_ GUARDED_BY(mutex_);
};

// The directories that are being listed. Thread-safe. Outlives its listings.
class ListingTable {
 public:
  // The listing is in the table until the last copy of the pointer is destroyed.
  std::shared_ptr<Listing> Open(NodeId dir) EXCLUDES(mutex_);
  void Close(NodeId dir, const Listing* listing) EXCLUDES(mutex_);
  // Calls Listing::NoteMove of all listings of that directory.
  void NoteMove(NodeId dir, const std::string& name) EXCLUDES(mutex_);

 private:
  Mutex mutex_;
  std::unordered_multimap<NodeId, Listing*> listings_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
