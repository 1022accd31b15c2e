// A node is reached by opening names one after the other, from the nearest directory above it whose
// descriptor is kept. The opened file is compared with the node's identity: a plain file or
// directory is the node's if it has its inode number, a compressed file if it is the node's
// version.
//
// The shown attributes of a file are made of the stored file's attributes, of the facts known of
// its version, and of the overlay, if the file is edited.
#include "fs/node_tree.h"

#include <fcntl.h>
#include <linux/limits.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <tuple>
#include <utility>

#include "base/log.h"
#include "base/try.h"
#include "cache/read_engine.h"
#include "fs/file_state.h"
#include "fs/open_order.h"
#include "store/names.h"
#include "store/overlay.h"

namespace xzfs {
namespace {

// The file was removed, or replaced by one of another kind.
bool IsGone(int error) { return error == -ENOENT || error == -ENOTDIR || error == -ELOOP; }

struct timespec Later(const struct timespec& a, const struct timespec& b) {
  return std::tie(a.tv_sec, a.tv_nsec) < std::tie(b.tv_sec, b.tv_nsec) ? b : a;
}

}  // namespace

NodeTree::NodeTree(DescriptorPtr root, const struct stat& st, size_t known_bytes,
                   size_t descriptors, ReadEngine& engine, OpenOrder& open_order, Os& os)
    : os_(os),
      root_(std::move(root)),
      view_(os, known_bytes, [this](NodeId top) { return OpenTop(top); }),
      numbers_(st.st_dev),
      nodes_(st, numbers_),
      opens_(nodes_),
      tops_(nodes_),
      directories_(descriptors / 2),
      files_(descriptors / 2),
      engine_(engine),
      open_order_(open_order) {}

Result<NodePtr> NodeTree::FindNode(NodeId id) {
  if (NodePtr node = nodes_.Find(id)) {
    return node;
  }
  return Fail(ESTALE, "unknown node " + std::to_string(id));
}

int NodeTree::FStat(int fd, struct stat* st) const {
  const int error = os_.FStat(fd, st);
  if (error == 0) {
    view_.overwritten.Show(*st);
  }
  return error;
}

int NodeTree::StatAt(int dir, const std::string& name, struct stat* st) const {
  const int error = os_.StatAt(dir, name, st);
  if (error == 0) {
    view_.overwritten.Show(*st);
  }
  return error;
}

Result<NodePtr> NodeTree::WithState(NodeId id) {
  NodePtr node = nodes_.Find(id);
  if (node != nullptr && node->state == nullptr) {
    node = nodes_.Update(id, [](Node& changed) {
      if (changed.state == nullptr) {  // another thread may have been faster
        changed.state = std::make_shared<FileState>();
      }
    });
  }
  if (node == nullptr) {
    return Fail(ESTALE, "unknown node " + std::to_string(id));
  }
  return node;
}

NodePtr NodeTree::KnownNode(const StoredEntry& entry) {
  return nodes_.FindBy(entry.kind, entry.format, Identity::Of(entry.attributes), entry.mount_id);
}

void NodeTree::Forget(NodeId node, uint64_t count) { Drop(nodes_.Forget(node, count)); }

void NodeTree::Drop(const std::vector<NodeId>& gone) {
  for (const NodeId id : gone) {
    directories_.Drop(id);
    files_.Drop(id);
    open_order_.Forget(id);
    opens_.Forget(id);
    tops_.Forget(id);
  }
}

void NodeTree::DropRead(const Node& node) {
  if (node.kind == StoredKind::kCompressed) {
    engine_.indexes.Drop(node.identity, node.format);
    engine_.small_files.Drop(node.identity);
    engine_.cache.DropFile(node.file_id());
  }
}

bool NodeTree::IsNode(const Node& node, const struct stat& st) {
  const Identity now = Identity::Of(st);
  if (node.kind == StoredKind::kCompressed) {
    return now == node.identity;
  }
  return now.device == node.identity.device && now.inode == node.identity.inode;
}

bool NodeTree::HasContentOf(const Node& node, const struct stat& st) {
  return node.identity.HasContentOf(Identity::Of(st));
}

// Goes down from the nearest ancestor whose descriptor is kept. Not recursive, since a tree may be
// deeper than a stack.
Result<DescriptorPtr> NodeTree::OpenNode(const NodePtr& node) {
  struct Step {
    NodePtr node;
    std::string stored_name;
  };
  std::vector<Step> way;
  NodePtr at = node;
  DescriptorPtr open;
  while (open == nullptr) {
    if (at->id == kRootNode) {
      open = root_;
    } else if ((open = CacheOf(*at).Find(at->id, at->content)) == nullptr) {
      NodeTable::Location location = nodes_.LocationOf(at->id);
      way.push_back({at, std::move(location.stored_name)});
      XZFS_ASSIGN_OR_RETURN(at, FindNode(location.parent));
    }
  }
  for (auto step = way.rbegin(); step != way.rend(); ++step) {
    XZFS_ASSIGN_OR_RETURN(open, OpenIn(step->node, open, step->stored_name));
  }
  return open;
}

// Opens `node` in its parent's directory `dir`.
Result<DescriptorPtr> NodeTree::OpenIn(const NodePtr& node, const DescriptorPtr& dir,
                                       const std::string& stored_name) {
  const int parent = dir->descriptor.get();
  const bool is_dir = node->kind == StoredKind::kDirectory;
  int fd =
      os_.OpenBeneath(parent, stored_name, is_dir ? O_RDONLY | O_DIRECTORY : O_RDONLY | O_NONBLOCK);
  if (fd == -EACCES && is_dir) {
    // We may not list it, but we may know names in it.
    fd = os_.OpenBeneath(parent, stored_name, O_PATH | O_DIRECTORY);
  }
  if (IsGone(fd)) {
    return Fail(ESTALE, nodes_.PathOf(node->id) + " is no longer there");
  }
  if (fd < 0) {
    return FailErrno(-fd, "open " + nodes_.PathOf(node->id));
  }
  Descriptor descriptor(os_, fd);
  struct stat st = {};
  if (const int error = FStat(fd, &st); error < 0) {
    return FailErrno(-error, "stat " + nodes_.PathOf(node->id));
  }
  const bool same = IsNode(*node, st) || (node->kind == StoredKind::kCompressed &&
                                          opens_.IsOpen(node->id) && HasContentOf(*node, st));
  if (!same) {
    return Fail(ESTALE, nodes_.PathOf(node->id) + " was changed in the source");
  }
  DescriptorPtr kept = CacheOf(*node).Add(node->id, std::move(descriptor), node->content);
  if (nodes_.Find(node->id) == nullptr) {
    CacheOf(*node).Drop(node->id);  // the node was just forgotten, so no other thread drops it
  }
  return kept;
}

Result<DescriptorPtr> NodeTree::OpenParent(const NodePtr& node, std::string* stored_name) {
  NodeTable::Location location = nodes_.LocationOf(node->id);
  *stored_name = std::move(location.stored_name);
  XZFS_ASSIGN_OR_RETURN(const NodePtr parent, FindNode(location.parent));
  return OpenNode(parent);
}

DescriptorPtr NodeTree::OpenTop(NodeId top) {
  const NodePtr node = nodes_.Find(top);
  const auto open = node == nullptr ? Result<DescriptorPtr>(nullptr) : OpenNode(node);
  return open ? *open : nullptr;
}

DescriptorPtr NodeTree::KeptDescriptor(const NodePtr& node) { return files_.FindPinned(node->id); }

Result<struct stat> NodeTree::StatNode(const NodePtr& node) {
  struct stat st = {};
  if (node->id == kRootNode) {
    const int error = os_.FStat(root_->descriptor.get(), &st);
    return error < 0 ? Result<struct stat>(FailErrno(-error, "stat the source")) : st;
  }
  if (node->is_removed) {
    return node->attributes;
  }
  std::string name;
  const auto parent = OpenParent(node, &name);
  if (!parent && parent.error().code != ESTALE) {
    return Failure(parent.error());
  }
  if (parent) {
    const int error = StatAt((*parent)->descriptor.get(), name, &st);
    if (error == 0 && IsNode(*node, st)) {
      return st;
    }
    if (error < 0 && !IsGone(error)) {
      return FailErrno(-error, "stat " + nodes_.PathOf(node->id));
    }
  }
  if (const DescriptorPtr kept = KeptDescriptor(node)) {
    if (FStat(kept->descriptor.get(), &st) == 0) {
      return st;
    }
  }
  if (node->state != nullptr && node->kind == StoredKind::kPlain) {
    DescriptorPtr plain;  // another program has removed its name
    {
      FileLock lock(*node->state);
      plain = node->state->plain().file;
    }
    if (plain != nullptr && os_.FStat(plain->descriptor.get(), &st) == 0) {
      return st;
    }
  }
  if (opens_.IsOpen(node->id)) {
    if (node->kind == StoredKind::kCompressed) {
      return node->attributes;
    }
    const auto open = OpenNode(node);
    if (open && os_.FStat((*open)->descriptor.get(), &st) == 0) {
      return st;
    }
  }
  return Fail(ESTALE, nodes_.PathOf(node->id) + " is no longer there");
}

Result<struct stat> NodeTree::StatName(const Node& node, int dir, const std::string& name) {
  struct stat st = {};
  const int error = StatAt(dir, name, &st);
  if (error < 0 && !IsGone(error)) {
    return FailErrno(-error, "stat " + nodes_.PathOf(node.id));
  }
  if (error < 0 || !IsNode(node, st)) {
    return Fail(ESTALE, nodes_.PathOf(node.id) + " was changed in the source");
  }
  return st;
}

Status NodeTree::ShowAttributes(const Node& node, struct stat* st) const {
  std::shared_ptr<Overlay> overlay;
  if (node.state != nullptr) {
    FileLock lock(*node.state);
    overlay = node.state->overlay();
  }
  return ShowAttributes(node, overlay.get(), st);
}

Status NodeTree::ShowAttributes(const Node& node, const Overlay* overlay, struct stat* st) const {
  st->st_ctim = node.ShownCtime(*st);  // before st_ino changes, which it compares
  st->st_ino = node.shown_inode;
  if (overlay != nullptr) {
    XZFS_ASSIGN_OR_RETURN(const struct stat edited, overlay->Stat());
    st->st_size = edited.st_size;
    st->st_blocks += edited.st_blocks;
    st->st_atim = edited.st_atim;
    st->st_mtim = edited.st_mtim;
    st->st_ctim = Later(edited.st_ctim, st->st_ctim);
    return {};
  }
  if (node.kind == StoredKind::kCompressed && node.known) {
    st->st_size = static_cast<off_t>(node.plain_size());
    if (st->st_blocks == 0 && node.plain_size() != 0) {
      // The content is stored inside the inode. Programs take a file without blocks for one hole.
      st->st_blocks = 1;
    }
  } else if (node.kind == StoredKind::kStrippedLink) {
    st->st_size -= 3;  // ".xz" of its target
  }
  return {};
}

Result<struct stat> NodeTree::GetAttributes(NodeId id) {
  SharedLock names(namespace_);  // a commit replaces the node's stored file
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, FindNode(id));
  XZFS_ASSIGN_OR_RETURN(struct stat st, StatNode(node));
  XZFS_RETURN_IF_ERROR(ShowAttributes(*node, &st));
  return st;
}

Result<std::string> NodeTree::ReadLink(NodeId id) {
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, FindNode(id));
  std::string name;
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr parent, OpenParent(node, &name));
  XZFS_RETURN_IF_ERROR(StatName(*node, parent->descriptor.get(), name));
  char target[PATH_MAX];
  const ssize_t length = os_.ReadLinkAt(parent->descriptor.get(), name, target);
  if (length == -ENOENT) {
    return Fail(ESTALE, nodes_.PathOf(id) + " is no longer there");
  }
  if (length < 0) {
    return FailErrno(static_cast<int>(-length), "readlink " + nodes_.PathOf(id));
  }
  std::string text(target, static_cast<size_t>(length));
  if (node->kind == StoredKind::kStrippedLink) {
    if (auto stripped = StripLinkTarget(text)) {
      return std::move(*stripped);
    }
  }
  return text;
}

// The same number as a stat of it returns.
uint64_t NodeTree::ShownInode(const StoredEntry& entry) {
  const NodePtr node = KnownNode(entry);
  return node != nullptr ? node->shown_inode : numbers_.Of(FileId::Of(entry.attributes));
}

Status NodeTree::Refresh(const NodePtr& node) {
  if (node->kind != StoredKind::kCompressed) {
    return {};
  }
  std::string name;
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr parent, OpenParent(node, &name));
  struct stat st = {};
  if (const int error = StatAt(parent->descriptor.get(), name, &st); error < 0) {
    return FailErrno(-error, "stat " + nodes_.PathOf(node->id));
  }
  return RefreshFrom(node, st, name);
}

Status NodeTree::RefreshFrom(const NodePtr& node, struct stat st, const std::string& name) {
  view_.overwritten.Show(st);
  const Identity identity = Identity::Of(st);
  if (FileId::Of(identity) != FileId::Of(node->identity) ||
      identity.size_bytes != node->identity.size_bytes) {
    return Fail(ESTALE, nodes_.PathOf(node->id) + " was replaced");
  }
  const NodePtr now = nodes_.Update(node->id, [&](Node& changed) {
    changed.identity = identity;
    changed.attributes = st;
    changed.kept_ctime.reset();
  });
  if (node->kind == StoredKind::kCompressed && node->identity != identity) {
    engine_.indexes.Drop(node->identity, node->format);  // its units stay: their key is the file id
    engine_.small_files.Drop(node->identity);
  }
  if (now != nullptr && now->known) {
    const auto stripped = StripSuffix(name);
    view_.known.Add(identity, stripped ? stripped->suffix : Suffix::kXz, *now->known);
  }
  return {};
}

}  // namespace xzfs
