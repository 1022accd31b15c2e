// Opening and closing files.
#pragma once

#include <memory>

#include "fs/writes.h"
#include "xzfs/result.h"

namespace xzfs {

class ColdFiles;
class EditedFiles;
class NodeTree;
class OpenFile;
struct ReadEngine;
class Reads;

// Thread-safe.
class Handles {
 public:
  Handles(NodeTree& tree, EditedFiles& edited, Reads& reads, Writes& writes, ColdFiles& cold,
          ReadEngine& engine);

  struct Opened {
    std::unique_ptr<OpenFile> file;
    // What the kernel has cached of the file is still good.
    bool keep_cache = false;
  };

  // `flags`: as for open(2). `new_file`: the file, open for writing, if it was made just now; may
  // be null. EWOULDBLOCK: as for Writes.
  Result<Opened> Open(NodeId id, int flags, const DescriptorPtr& new_file = nullptr);
  void Close(std::unique_ptr<OpenFile> file);

 private:
  struct Counted {
    NodePtr node;
    bool keep_cache = false;
  };

  Result<Opened> TryOpen(NodeId id, int flags, const DescriptorPtr& new_file);
  Status BeginWritingTo(NodeId id, int flags, const DescriptorPtr& new_file);
  Result<Counted> CountOpen(NodeId id, int flags);
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
