// Which small files will be opened next.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "fs/node.h"

namespace xzfs {

// Programs that walk a tree (`tar`, `cp -r`, `grep -r`) open the files of a directory in the order
// in which they were listed. Remembers that order for the directories used last and, once two opens
// follow it, names the files to be decoded ahead: 2, then 4, up to kMostAhead. An open that leaves
// the order ends that. During a walk it names the first files of the next directory as soon as that
// is listed; a directory whose files are not opened ends the walk. So at most twice kMostAhead
// files a pass are decoded needlessly. Thread-safe.
class OpenOrder {
 public:
  static constexpr size_t kMostAhead = 32;
  // About 4 MiB with the tables.
  static constexpr size_t kMostFiles = 65536;

  // A file and its place in the order.
  struct Place {
    NodeId dir = 0;
    size_t position = 0;
    NodeId file = 0;
  };

  // What follows from an open.
  struct Next {
    bool was_named = false;    // this file was named to be decoded ahead
    std::vector<Place> files;  // to decode ahead, in order; each is named once a pass
  };

  // `files` were listed in `dir`, after the ones of earlier calls. If a file is listed twice its
  // first place counts. Returns the files to decode ahead.
  std::vector<Place> Listed(NodeId dir, std::span<const NodeId> files) EXCLUDES(mutex_);
  // `file` is opened.
  Next Opened(NodeId dir, NodeId file) EXCLUDES(mutex_);
  // Whether decoding the file is still useful: neither it nor a later one was opened since it was
  // named.
  bool IsAhead(const Place& place) EXCLUDES(mutex_);
  // `dir` is gone.
  void Forget(NodeId dir) EXCLUDES(mutex_);

 private:
  struct Directory {
    NodeId id = 0;
    std::vector<NodeId> files;
    std::unordered_map<NodeId, size_t> positions;  // in files
    size_t opened = SIZE_MAX;                      // position of the last one
    size_t planned_end = 0;                        // positions before it were opened or named
    size_t window = 0;
    bool foreseen = false;  // files were named before any was opened
  };
  using DirectoryList = std::list<Directory>;

  Directory* Find(NodeId dir) REQUIRES(mutex_);
  Directory& FindOrAdd(NodeId dir) REQUIRES(mutex_);
  static std::vector<Place> Name(Directory& directory, size_t end);
  void Drop(DirectoryList::iterator directory) REQUIRES(mutex_);

  Mutex mutex_;
  bool walking_ GUARDED_BY(mutex_) = false;
  size_t file_count_ GUARDED_BY(mutex_) = 0;
  DirectoryList directories_ GUARDED_BY(mutex_);  // used last first
  std::unordered_map<NodeId, DirectoryList::iterator> by_id_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
