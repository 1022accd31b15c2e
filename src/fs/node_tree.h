// The nodes of a mount, and the way to their stored files.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "fs/inode_numbers.h"
#include "fs/node.h"
#include "fs/node_table.h"
#include "fs/open_counts.h"
#include "fs/source_view.h"
#include "fs/zone_tops.h"
#include "store/descriptor_cache.h"
#include "xzfs/result.h"

namespace xzfs {

class OpenOrder;
class Os;
class Overlay;
struct ReadEngine;

// The base of a mount: the nodes, the source's directory through which each is reached, the
// descriptors that are kept open, and the lock on names. Thread-safe.
//
// ESTALE means that another file is stored there now: the kernel looks the name up again.
class NodeTree {
 public:
  // `root`: the source's directory, open; `st`: its attributes. `known_bytes`: the memory of
  // KnownFiles. `descriptors`: how many are kept at most. `engine`, `open_order` and `os` outlive
  // the tree; the constructor does not use the first two.
  NodeTree(DescriptorPtr root, const struct stat& st, size_t known_bytes, size_t descriptors,
           ReadEngine& engine, OpenOrder& open_order, Os& os);
  NodeTree(const NodeTree&) = delete;
  NodeTree& operator=(const NodeTree&) = delete;

  // Held shared while names are looked up or one is made. Held exclusively by operations of two
  // steps on names, and by those that change a compressed file's identity (size, times, inode
  // number).
  SharedMutex& namespace_lock() { return namespace_; }
  NodeTable& nodes() { return nodes_; }
  OpenCounts& opens() { return opens_; }
  ZoneTops& tops() { return tops_; }
  KnownFiles& known() { return view_.known; }
  ZoneTwins& twins() { return view_.twins; }
  // The rules by which stored names become shown ones.
  SourceDir& names() { return view_.names; }
  InodeNumbers& numbers() { return numbers_; }
  // Files that are being overwritten: the tree shows each of them with its new content.
  OverwrittenBases& overwritten() { return view_.overwritten; }
  DescriptorCache& files() { return files_; }
  DescriptorCache& directories() { return directories_; }
  const DescriptorPtr& root() const { return root_; }

  // ESTALE: the node isn't known.
  Result<NodePtr> FindNode(NodeId id);
  // The same, and makes its `state` if it has none.
  Result<NodePtr> WithState(NodeId id);
  // The node of an entry, or null.
  NodePtr KnownNode(const StoredEntry& entry);
  // Takes lookups back, and drops nodes that are gone then.
  void Forget(NodeId node, uint64_t count);
  // Drops what is kept of nodes that are gone.
  void Drop(const std::vector<NodeId>& gone);
  // Drops what was read of this version of a file: it won't be read again.
  void DropRead(const Node& node);

  // A descriptor of a directory or regular file, verified to be the node's.
  Result<DescriptorPtr> OpenNode(const NodePtr& node);
  // The descriptor of the directory that holds the node.
  Result<DescriptorPtr> OpenParent(const NodePtr& node, std::string* stored_name);
  // The descriptor of the top of a zone; null if the node isn't known any more.
  DescriptorPtr OpenTop(NodeId top);
  // The descriptor of a file that is used without a name, or null.
  DescriptorPtr KeptDescriptor(const NodePtr& node);

  // The attributes of the stored file. If it is open, also after it was replaced or removed.
  Result<struct stat> StatNode(const NodePtr& node);
  // The same by its name; ESTALE if that is not the node any more.
  Result<struct stat> StatName(const Node& node, int dir, const std::string& name);
  // Whether the stored file is the node's, in the node's version.
  static bool IsNode(const Node& node, const struct stat& st);
  // Whether the stored file has the content of the node's version. A chmod, a rename, a new link or
  // an unlink does not disturb a program that has the file open: they change only the ctime. The
  // price: an open handle does not notice a rewrite in place that keeps the size and sets the mtime
  // back.
  static bool HasContentOf(const Node& node, const struct stat& st);

  // Turns the stored file's attributes into those that the mount shows.
  Status ShowAttributes(const Node& node, struct stat* st) const;
  // `overlay`: the node's, or null.
  Status ShowAttributes(const Node& node, const Overlay* overlay, struct stat* st) const;
  Result<struct stat> GetAttributes(NodeId node);
  Result<std::string> ReadLink(NodeId node);
  // The inode number that the mount shows for an entry.
  uint64_t ShownInode(const StoredEntry& entry);

  // Gives the node of a compressed file the present identity and attributes of the stored file.
  Status Refresh(const NodePtr& node);
  // The same with `st`, which was just read. `name`: the stored name.
  Status RefreshFrom(const NodePtr& node, struct stat st, const std::string& name);

 private:
  DescriptorCache& CacheOf(const Node& node) {
    return node.kind == StoredKind::kDirectory ? directories_ : files_;
  }
  Result<DescriptorPtr> OpenIn(const NodePtr& node, const DescriptorPtr& dir,
                               const std::string& stored_name);
  // As Os, but show files that are being overwritten as they will be.
  int FStat(int fd, struct stat* st) const;
  int StatAt(int dir, const std::string& name, struct stat* st) const;

  Os& os_;
  const DescriptorPtr root_;
  SourceView view_;
  InodeNumbers numbers_;
  NodeTable nodes_;
  OpenCounts opens_;
  ZoneTops tops_;
  // Separate, so that a walk through directories doesn't close open files.
  DescriptorCache directories_;
  DescriptorCache files_;
  SharedMutex namespace_;
  ReadEngine& engine_;
  OpenOrder& open_order_;
};

}  // namespace xzfs
