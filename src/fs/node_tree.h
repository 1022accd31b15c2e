// Which node is which stored file, and the way to it.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/identity.h"
#include "base/mutex.h"
#include "base/os.h"
#include "cache/read_engine.h"
#include "fs/answers.h"
#include "fs/inode_numbers.h"
#include "fs/node.h"
#include "fs/node_table.h"
#include "fs/open_counts.h"
#include "fs/open_order.h"
#include "fs/source_view.h"
#include "fs/zone_tops.h"
#include "store/descriptor_cache.h"
#include "store/overlay.h"
#include "xzfs/result.h"

namespace xzfs {

// The ground floor of a mount: the nodes, the source's directory by which each is reached, the
// descriptors that are kept, and the lock on names. Thread-safe.
//
// ESTALE means that the node isn't what is stored there now: the kernel looks the name up again.
class NodeTree {
 public:
  // `root`: the source's directory, open; `st` is of it. `known_bytes`: for what is known of files.
  // `descriptors`: that are kept at most. `engine` and `open_order` are used later only, and
  // outlive the tree, as `os` does.
  NodeTree(DescriptorPtr root, const struct stat& st, size_t known_bytes, size_t descriptors,
           ReadEngine& engine, OpenOrder& open_order, Os& os);
  NodeTree(const NodeTree&) = delete;
  NodeTree& operator=(const NodeTree&) = delete;

  // Held shared while names are looked up or one is made. Held exclusively by operations that take
  // two steps on names, and by those that change the identity (size, times, inode number) by which
  // a compressed file is known.
  SharedMutex& namespace_lock() { return namespace_; }
  NodeTable& nodes() { return nodes_; }
  OpenCounts& opens() { return opens_; }
  ZoneTops& tops() { return tops_; }
  KnownFiles& known() { return view_.known; }
  ZoneTwins& twins() { return view_.twins; }
  // The rules by which stored names become shown ones.
  SourceDir& names() { return view_.names; }
  InodeNumbers& numbers() { return numbers_; }
  // While a file is in there all that the tree tells of it is of its new content.
  OverwrittenBases& overwritten() { return view_.overwritten; }
  DescriptorCache& files() { return files_; }
  DescriptorCache& directories() { return directories_; }
  const DescriptorPtr& root() const { return root_; }

  // ESTALE: the node isn't known.
  Result<NodePtr> FindNode(NodeId id);
  // The same, with a state.
  Result<NodePtr> WithState(NodeId id);
  // The node that an entry is, or null.
  NodePtr KnownNode(const StoredEntry& entry);
  // Takes lookups back.
  void Forget(NodeId node, uint64_t count);
  // These nodes are gone.
  void Drop(const std::vector<NodeId>& gone);
  // Nobody will ask for this version of a file again.
  void DropRead(const Node& node);

  // A descriptor for a directory or regular file, verified to be the node's.
  Result<DescriptorPtr> OpenNode(const NodePtr& node);
  // The descriptor of the directory that holds the node.
  Result<DescriptorPtr> OpenParent(const NodePtr& node, std::string* stored_name);
  // That of the top of a zone; null if it isn't known any more.
  DescriptorPtr OpenTop(NodeId top);
  // One that is used though the file has no name any more, or null.
  DescriptorPtr KeptDescriptor(const NodePtr& node);

  // Of the stored file. One that is open keeps answering after it was replaced or removed.
  Result<struct stat> StatNode(const NodePtr& node);
  // The name under which the node was seen last still is the node.
  Result<struct stat> StatName(const Node& node, int dir, const std::string& name);
  // The stored file is the node's, and of its version.
  static bool IsNode(const Node& node, const struct stat& st);
  // The stored file has the content of the node's version. Who has a file open is not disturbed by
  // a chmod, a rename, a new link or an unlink: they change the ctime alone. The price: a rewrite
  // in place that keeps the size and then sets the mtime back is not noticed by them.
  static bool HasContentOf(const Node& node, const struct stat& st);

  // Turns the stored file's attributes into the logical file's.
  Status ShowAttributes(const Node& node, struct stat* st) const;
  // `overlay`: that of the node, or null.
  Status ShowAttributes(const Node& node, const Overlay* overlay, struct stat* st) const;
  Result<struct stat> GetAttributes(NodeId node);
  Result<std::string> ReadLink(NodeId node);
  // The inode number that is shown of an entry.
  uint64_t ShownInode(const StoredEntry& entry);

  // The node of a compressed file takes over the identity and the attributes that the stored file
  // has now.
  Status Refresh(const NodePtr& node);
  // The same of a file that was just stated. `name`: that it is stored under.
  Status RefreshFrom(const NodePtr& node, struct stat st, const std::string& name);

 private:
  DescriptorCache& CacheOf(const Node& node) {
    return node.kind == StoredKind::kDirectory ? directories_ : files_;
  }
  Result<DescriptorPtr> OpenIn(const NodePtr& node, const DescriptorPtr& dir,
                               const std::string& stored_name);
  // As Os, and shows what is being overwritten as it will be.
  int FStat(int fd, struct stat* st) const;
  int StatAt(int dir, const std::string& name, struct stat* st) const;

  Os& os_;
  const DescriptorPtr root_;
  SourceView view_;
  InodeNumbers numbers_;
  NodeTable nodes_;
  OpenCounts opens_;
  ZoneTops tops_;
  // Apart, so that walking through directories doesn't close the files that are open.
  DescriptorCache directories_;
  DescriptorCache files_;
  SharedMutex namespace_;
  ReadEngine& engine_;
  OpenOrder& open_order_;
};

}  // namespace xzfs
