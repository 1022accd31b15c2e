// Invariants, under mutex_: slot.children counts the slots that name it as parent, so every chain
// of parents ends at the root and has no cycle; a slot without lookups and children doesn't exist,
// but for the root's.
#include "fs/node_table.h"

#include <algorithm>
#include <utility>

namespace xzfs {
namespace {

// Of a path in a message: enough to find the file.
constexpr size_t kMostPathParts = 64;

}  // namespace

NodeTable::NodeTable(const struct stat& root) {
  Node node;
  node.id = kRootNode;
  node.kind = StoredKind::kDirectory;
  node.identity = Identity::Of(root);
  node.attributes = root;
  MutexLock lock(mutex_);
  by_key_.emplace(KeyOf(node.kind, node.format, node.identity), kRootNode);
  Slot slot;
  slot.node = std::make_shared<const Node>(std::move(node));
  slot.lookups = 1;
  slots_.emplace(kRootNode, std::move(slot));
}

NodeTable::Key NodeTable::KeyOf(StoredKind kind, Format format, const Identity& identity) {
  Key key{kind, Format::kXz, {}};
  if (kind == StoredKind::kCompressed) {
    key.format = format;
    key.identity = identity;
  } else {
    key.identity.device = identity.device;
    key.identity.inode = identity.inode;
  }
  return key;
}

NodePtr NodeTable::Find(NodeId id) {
  MutexLock lock(mutex_);
  const auto it = slots_.find(id);
  return it == slots_.end() ? nullptr : it->second.node;
}

NodePtr NodeTable::Acquire(StoredKind kind, Format format, const Identity& identity,
                           const Location& location, std::vector<NodeId>& gone) {
  MutexLock lock(mutex_);
  return AcquireLocked(KeyOf(kind, format, identity), location, gone);
}

NodePtr NodeTable::AcquireOrAdd(Node candidate, const Location& location,
                                std::vector<NodeId>& gone) {
  const Key key = KeyOf(candidate.kind, candidate.format, candidate.identity);
  MutexLock lock(mutex_);
  if (NodePtr known = AcquireLocked(key, location, gone)) {
    return known;
  }
  const auto parent = slots_.find(location.parent);
  if (parent == slots_.end()) {
    return nullptr;
  }
  ++parent->second.children;
  candidate.id = next_id_++;
  Slot slot;
  slot.node = std::make_shared<const Node>(std::move(candidate));
  slot.location = location;
  slot.lookups = 1;
  NodePtr node = slot.node;
  slots_.emplace(node->id, std::move(slot));
  by_key_.insert_or_assign(key, node->id);
  return node;
}

NodePtr NodeTable::AcquireLocked(const Key& key, const Location& location,
                                 std::vector<NodeId>& gone) {
  const auto it = by_key_.find(key);
  if (it == by_key_.end() || !slots_.contains(location.parent)) {
    return nullptr;
  }
  const NodeId id = it->second;
  Slot& slot = slots_.at(id);
  if (id != kRootNode && slot.location.parent != location.parent) {
    // A directory that was moved below what we took for its child: our picture is out of date
    // there, and a cycle must not come of it. It becomes a new node.
    if (IsInside(location.parent, id)) {
      return nullptr;
    }
    const NodeId old_parent = slot.location.parent;
    ++slots_.at(location.parent).children;
    --slots_.at(old_parent).children;
    slot.location = location;
    ++slot.lookups;
    NodePtr node = slot.node;
    gone = DropUnused(old_parent);
    return node;
  }
  if (id != kRootNode) {
    slot.location.stored_name = location.stored_name;
  }
  ++slot.lookups;
  return slot.node;
}

bool NodeTable::IsInside(NodeId inner, NodeId outer) {
  for (NodeId id = inner; id != 0; id = slots_.at(id).location.parent) {
    if (id == outer) {
      return true;
    }
  }
  return false;
}

std::vector<NodeId> NodeTable::Forget(NodeId id, uint64_t count) {
  MutexLock lock(mutex_);
  const auto it = slots_.find(id);
  if (it == slots_.end() || id == kRootNode) {
    return {};
  }
  it->second.lookups -= std::min(count, it->second.lookups);
  return DropUnused(id);
}

// Drops `id` if nothing holds it, and then its parent if that was only kept for it, and so on.
std::vector<NodeId> NodeTable::DropUnused(NodeId id) {
  std::vector<NodeId> dropped;
  while (id != kRootNode && id != 0) {
    const auto it = slots_.find(id);
    const Slot& slot = it->second;
    if (slot.lookups != 0 || slot.children != 0) {
      break;
    }
    const auto key = by_key_.find(KeyOf(slot.node->kind, slot.node->format, slot.node->identity));
    if (key != by_key_.end() && key->second == id) {
      by_key_.erase(key);
    }
    const NodeId parent = slot.location.parent;
    slots_.erase(it);
    dropped.push_back(id);
    --slots_.at(parent).children;
    id = parent;
  }
  return dropped;
}

bool NodeTable::AddOpen(NodeId id, const Identity& identity) {
  MutexLock lock(mutex_);
  const auto it = slots_.find(id);
  if (it == slots_.end()) {
    return false;
  }
  ++it->second.opens;
  return std::exchange(it->second.opened_identity, identity) == identity;
}

bool NodeTable::RemoveOpen(NodeId id) {
  MutexLock lock(mutex_);
  const auto it = slots_.find(id);
  if (it == slots_.end() || it->second.opens == 0) {
    return true;
  }
  return --it->second.opens == 0;
}

bool NodeTable::IsOpen(NodeId id) {
  MutexLock lock(mutex_);
  const auto it = slots_.find(id);
  return it != slots_.end() && it->second.opens != 0;
}

NodeTable::Location NodeTable::LocationOf(NodeId id) {
  MutexLock lock(mutex_);
  const auto it = slots_.find(id);
  return it == slots_.end() ? Location{} : it->second.location;
}

std::string NodeTable::PathOf(NodeId id) {
  std::vector<std::string> names;
  bool cut = false;
  {
    MutexLock lock(mutex_);
    for (auto it = slots_.find(id); it != slots_.end() && it->second.location.parent != 0;
         it = slots_.find(it->second.location.parent)) {
      if (names.size() == kMostPathParts) {
        cut = true;
        break;
      }
      names.push_back(it->second.location.stored_name);
    }
  }
  std::string path = cut ? "..." : "";
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    if (!path.empty()) {
      path += '/';
    }
    path += *name;
  }
  return path.empty() ? "." : path;
}

std::string NodeTable::PathIn(NodeId dir, const std::string& stored_name) {
  return dir == kRootNode ? stored_name : PathOf(dir) + "/" + stored_name;
}

size_t NodeTable::size() {
  MutexLock lock(mutex_);
  return slots_.size();
}

}  // namespace xzfs
