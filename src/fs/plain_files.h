// Plain files that are written to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/os.h"
#include "fs/file_state.h"
#include "fs/listing.h"
#include "fs/node_tree.h"
#include "fs/pending_notes.h"
#include "fs/unfinished_commits.h"
#include "xzfs/result.h"

namespace xzfs {

// How a plain file begins, as far as that tells its format, and its size. Changed as the file is
// about to be.
struct FileHead {
  std::vector<std::byte> bytes;
  uint64_t size = 0;

  void Resize(uint64_t new_size);
  void Put(uint64_t offset, std::span<const std::byte> content);
  // `mode`: of fallocate(2).
  void Allocate(int mode, uint64_t offset, uint64_t length);
};

// Opens and prepares them. Thread-safe.
class PlainFiles {
 public:
  PlainFiles(NodeTree& tree, PendingNotes& pending, UnfinishedCommits& unfinished,
             ListingTable& listings, Os& os);

  // Opens the plain file for writing unless it is.
  Status Open(const NodePtr& node, FileState& state, bool appends) REQUIRES(state.mutex);
  // Makes it ready for a change.
  Status Prepare(const NodePtr& node, FileState& state, bool appends) REQUIRES(state.mutex);
  // Before the first change of a plain file, with no lock held: a name that could be a compressed
  // file's is changed.
  Status EscapeName(NodeId id) EXCLUDES(namespace_);
  // Refuses a change after which the plain file would be taken for a compressed one, if its name
  // could not be escaped. `keeps_name`: why, an errno; 0: it could. `change` does to its head what
  // is about to be done to it.
  Status KeepPlainLook(const Node& node, const SharedDescriptor& plain, int keeps_name,
                       const std::function<void(FileHead&)>& change);

 private:
  Result<Descriptor> OpenForWriting(int dir, const std::string& name, bool appends,
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
