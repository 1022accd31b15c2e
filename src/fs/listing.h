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

// A commit moves a file to another line of the source's directory, behind the back of who is
// listing it. With what is remembered here the file is neither missed nor shown twice. Remembers
// plain files alone, as no others move, and no more than kMostNames: then such a file may be.
// Thread-safe.
class Listing {
 public:
  Listing(class ListingTable& table, NodeId dir) : table_(table), dir_(dir) {}
  ~Listing();
  Listing(const Listing&) = delete;
  Listing& operator=(const Listing&) = delete;

  // 8 bytes each, and what a set takes: 10 MiB. Directories that large are written long before they
  // are listed.
  static constexpr size_t kMostNames = size_t{1} << 18;

  // It begins anew.
  void Restart() EXCLUDES(mutex_);
  // `name` has moved to another line.
  void NoteMove(const std::string& name) EXCLUDES(mutex_);
  // Whether the file is still to be shown.
  bool IsDue(const std::string& name) EXCLUDES(mutex_);
  // It is shown. `may_move`: it's a plain file.
  void NoteShown(const std::string& name, bool may_move) EXCLUDES(mutex_);
  // Those that moved and were not shown: to be looked for when all lines have been.
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
  // Until the last copy of the pointer is gone.
  std::shared_ptr<Listing> Open(NodeId dir) EXCLUDES(mutex_);
  void Close(NodeId dir, const Listing* listing) EXCLUDES(mutex_);
  // In all listings of that directory.
  void NoteMove(NodeId dir, const std::string& name) EXCLUDES(mutex_);

 private:
  Mutex mutex_;
  std::unordered_multimap<NodeId, Listing*> listings_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
