// Changes of plain files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/os.h"
#include "fs/file_state.h"
#include "fs/unfinished_commits.h"
#include "xzfs/result.h"

namespace xzfs {

class ListingTable;
class NodeTree;
class PendingNotes;

// The beginning of a plain file, as much as shows a format, and its size. The methods change it as
// the file is about to be changed.
struct FileHead {
  std::vector<std::byte> bytes;
  uint64_t size = 0;

  void Resize(uint64_t new_size);
  void Put(uint64_t offset, std::span<const std::byte> content);
  // `mode`: of fallocate(2).
  void Allocate(int mode, uint64_t offset, uint64_t length);
};

// Where a change writes. Append-only files can only be written at their end.
enum class WritePlace { kAnywhere, kAtEnd };

// Opens and prepares plain files. Thread-safe.
class PlainFiles {
 public:
  PlainFiles(NodeTree& tree, PendingNotes& pending, UnfinishedCommits& unfinished,
             ListingTable& listings, Os& os);

  // Opens the plain file for writing, unless it is open.
  Status Open(const NodePtr& node, FileState& state, WritePlace place) REQUIRES(state.mutex);
  // Makes it ready for a change.
  Status Prepare(const NodePtr& node, FileState& state, WritePlace place) REQUIRES(state.mutex);
  // Changes a name that could be a compressed file's. Call it before the first change of a plain
  // file, with no lock held.
  Status EscapeName(NodeId id) EXCLUDES(namespace_);
  // Refuses a change after which the plain file would look like a compressed one, if its name could
  // not be escaped. `keeps_name`: the errno of that failure; 0: it could be escaped. `change` makes
  // the change to the file's head.
  Status KeepPlainLook(const Node& node, const SharedDescriptor& plain, int keeps_name,
                       const std::function<void(FileHead&)>& change);

 private:
  Result<Descriptor> OpenForWriting(int dir, const std::string& name, WritePlace place,
                                    bool* only_appends);

  NodeTree& tree_;
  NodeTable& nodes_;
  SharedMutex& namespace_;
  PendingNotes& pending_;
  UnfinishedCommits& unfinished_;
  ListingTable& listings_;
  Os& os_;
};

}  // namespace xzfs
