// Reading what a version of a compressed file holds.
#pragma once

#include "base/report_once.h"
#include "fs/node.h"
#include "fs/node_tree.h"
#include "xzfs/result.h"

namespace xzfs {

class Os;
struct ReadEngine;
struct StoredEntry;

// Reads the Indexes of files that are looked up. Thread-safe.
class VersionReader {
 public:
  VersionReader(NodeTree& tree, ReadEngine& engine, Os& os);

  // Completes the compressed `node` of `entry` in `parent`. Errors are temporary ones: a damaged
  // Index is noted in the node.
  Status LookInto(NodeId parent, StoredEntry& entry, Node& node);

 private:
  Result<KnownFile> ReadIndex(NodeId parent, const StoredEntry& entry);

  NodeTable& nodes_;
  KnownFiles& known_;
  ReadEngine& engine_;
  Os& os_;
  ReportOnce damaged_files_;
};

}  // namespace xzfs
