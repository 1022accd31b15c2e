// Opening and closing files.
#pragma once

#include <memory>

#include "cache/read_engine.h"
#include "fs/cold_files.h"
#include "fs/edited_files.h"
#include "fs/node_tree.h"
#include "fs/open_file.h"
#include "fs/reads.h"
#include "fs/writes.h"
#include "xzfs/result.h"

namespace xzfs {

// Thread-safe.
class Handles {
 public:
  Handles(NodeTree& tree, EditedFiles& edited, Reads& reads, Writes& writes, ColdFiles& cold,
          ReadEngine& engine);

  // `flags` as open(2) takes them. `keep_cache`: what the kernel has cached of the file is still
  // good. EWOULDBLOCK as Writes says it.
  Result<std::unique_ptr<OpenFile>> Open(NodeId node, int flags, bool* keep_cache);
  // The same. `new_file`: open for writing, if it was made just now; may be null.
  Result<std::unique_ptr<OpenFile>> OpenWith(NodeId id, int flags, const DescriptorPtr& new_file,
                                             bool* keep_cache);
  void Close(std::unique_ptr<OpenFile> file);

 private:
  Result<std::unique_ptr<OpenFile>> TryOpenWith(NodeId id, int flags, const DescriptorPtr& new_file,
                                                bool* keep_cache);
  Status BeginWritingTo(NodeId id, int flags, const DescriptorPtr& new_file);
  Result<NodePtr> CountOpen(NodeId id, bool may_write, bool may_note_use, bool* keep_cache);
  void RemoveOpen(const NodePtr& node);

  NodeTree& tree_;
  NodeTable& nodes_;
  SharedMutex& namespace_;
  EditedFiles& edited_;
  Reads& reads_;
  Writes& writes_;
  ColdFiles& cold_;
  ReadEngine& engine_;
};

}  // namespace xzfs
