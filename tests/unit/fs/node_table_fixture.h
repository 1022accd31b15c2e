// A NodeTable with files and directories that exist nowhere else.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <vector>

#include "fs/inode_numbers.h"
#include "fs/node_table.h"

namespace xzfs {

inline Node FileNode(uint64_t inode, StoredKind kind = StoredKind::kPlain, int64_t ctime_ns = 1) {
  Node node;
  node.kind = kind;
  node.identity = {
      .device = 1, .inode = inode, .size_bytes = 10, .mtime_ns = 1, .ctime_ns = ctime_ns};
  return node;
}

class NodeTableFixture {
 protected:
  NodeId Add(const Node& node, NodeId parent, const std::string& name) {
    std::vector<NodeId> gone;
    return table_.AcquireOrAdd(node, {parent, name}, gone)->id;
  }
  InodeNumbers numbers_{1};
  NodeTable table_{[] {
                     struct stat st = {};
                     st.st_dev = 1;
                     st.st_ino = 1;
                     return st;
                   }(),
                   numbers_};
};

}  // namespace xzfs
