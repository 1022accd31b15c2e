// Invariants, under mutex_: slot.children counts the slots that name it as parent, so every chain
// of parents ends at the root and has no cycle; a slot without lookups and children doesn't exist,
// except the root's.
#include "fs/node_table.h"

#include <algorithm>
#include <utility>

#include "fs/inode_numbers.h"

namespace xzfs {
namespace {

// Of a path in a message. So many are enough to find the file.
constexpr size_t kMostPathParts = 64;

constexpr size_t kMostOtherNames = 16;

bool CanHaveLinks(StoredKind kind) { return kind != StoredKind::kDirectory; }

// InodeNumbers never returns numbers with only this of the two highest bits.
constexpr uint64_t kOwnInodes = uint64_t{1} << 63;

// The path of a whole way up to the root. "..." replaces all but the last `most_parts` names.
std::string PathBelowRoot(std::span<const NodeTable::Step> way, size_t most_parts) {
  const size_t parts = way.empty() ? 0 : way.size() - 1;
  if (parts == 0) {
    return ".";
  }
  const std::string path = PathOf(way.first(std::min(parts, most_parts)));
  return parts > most_parts ? ".../" + path : path;
}

}  // namespace

std::string PathOf(std::span<const NodeTable::Step> steps) {
  std::string path;
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    if (!path.empty()) {
      path += '/';
    }
    path += step->stored_name;
  }
  return path;
}

NodeTable::NodeTable(const struct stat& root, InodeNumbers& numbers) : numbers_(numbers) {
  Node node;
  node.id = kRootNode;
  node.kind = StoredKind::kDirectory;
  node.identity = Identity::Of(root);
  node.attributes = root;
  node.shown_inode = numbers.Of(FileId::Of(root));
  MutexLock lock(mutex_);
  by_key_.emplace(KeyOf(node), kRootNode);
  shown_.emplace(node.shown_inode, kRootNode);
  Slot slot;
  slot.node = std::make_shared<const Node>(std::move(node));
  slot.lookups = 1;
  slots_.emplace(kRootNode, std::move(slot));
}

NodeTable::Key NodeTable::KeyOf(StoredKind kind, Format format, const Identity& identity,
                                uint64_t mount_id) {
  Key key{kind, Format::kXz, {}, kind == StoredKind::kDirectory ? mount_id : 0};
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
                           uint64_t mount_id, const Location& location, std::vector<NodeId>& gone) {
  MutexLock lock(mutex_);
  return AcquireLocked(KeyOf(kind, format, identity, mount_id), location, gone);
}

NodePtr NodeTable::AcquireOrAdd(Node candidate, const Location& location,
                                std::vector<NodeId>& gone) {
  const Key key = KeyOf(candidate);
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
  // A node whose stored file was replaced by a commit may still show this number. Programs would
  // take the two for one file.
  candidate.shown_inode = numbers_.Of(FileId::Of(candidate.identity));
  const auto shown = shown_.try_emplace(candidate.shown_inode, candidate.id).first;
  const Node& holder =
      *(shown->second == candidate.id ? &candidate : slots_.at(shown->second).node.get());
  if (FileId::Of(holder.identity) != FileId::Of(candidate.identity)) {
    candidate.shown_inode = kOwnInodes | candidate.id;
    shown_.emplace(candidate.shown_inode, candidate.id);
  }
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
  // The directory was moved below a directory that we knew as its child. So our locations are out
  // of date, and must not become a cycle: the directory becomes a new node.
  if (id != kRootNode && slot.location.parent != location.parent && IsInside(location.parent, id)) {
    return nullptr;
  }
  ++slot.lookups;
  NodePtr node = slot.node;
  AddNameLocked(slot, location, gone);
  return node;
}

void NodeTable::AddNameLocked(Slot& slot, const Location& location, std::vector<NodeId>& gone) {
  if (slot.location != location && CanHaveLinks(slot.node->kind) &&
      slot.other_names.size() < kMostOtherNames &&
      std::find(slot.other_names.begin(), slot.other_names.end(), slot.location) ==
          slot.other_names.end()) {
    slot.other_names.push_back(slot.location);
  }
  MoveLocked(slot, location, gone);
}

// REQUIRES: the new parent is known and not inside the node.
void NodeTable::MoveLocked(Slot& slot, const Location& location, std::vector<NodeId>& gone) {
  if (slot.node->id == kRootNode) {
    return;
  }
  const NodeId old_parent = slot.location.parent;
  slot.location = location;
  if (old_parent != location.parent) {
    ++slots_.at(location.parent).children;
    --slots_.at(old_parent).children;
    gone = DropUnused(old_parent);
  }
}

void NodeTable::DropName(NodeId id, const Location& location) {
  MutexLock lock(mutex_);
  const auto it = slots_.find(id);
  if (it == slots_.end()) {
    return;
  }
  Slot& slot = it->second;
  std::erase(slot.other_names, location);
  while (slot.location == location && !slot.other_names.empty()) {
    const Location other = std::move(slot.other_names.back());
    slot.other_names.pop_back();
    if (slots_.contains(other.parent)) {
      std::vector<NodeId> gone;
      // Nothing is gone: the thread that removes the name uses the directory that loses a child
      // here.
      MoveLocked(slot, other, gone);
    }
  }
}

void NodeTable::Move(NodeId id, const Location& location, std::vector<NodeId>& gone) {
  MutexLock lock(mutex_);
  const auto it = slots_.find(id);
  if (it != slots_.end() && slots_.contains(location.parent) && !IsInside(location.parent, id)) {
    MoveLocked(it->second, location, gone);
  }
}

void NodeTable::AddName(NodeId id, const Location& location, std::vector<NodeId>& gone) {
  MutexLock lock(mutex_);
  const auto it = slots_.find(id);
  if (it != slots_.end() && slots_.contains(location.parent) && !IsInside(location.parent, id)) {
    AddNameLocked(it->second, location, gone);
  }
}

NodePtr NodeTable::FindBy(StoredKind kind, Format format, const Identity& identity,
                          uint64_t mount_id) {
  MutexLock lock(mutex_);
  const auto it = by_key_.find(KeyOf(kind, format, identity, mount_id));
  return it == by_key_.end() ? nullptr : slots_.at(it->second).node;
}

NodePtr NodeTable::Update(NodeId id, const std::function<void(Node&)>& change,
                          const std::string* stored_name) {
  MutexLock lock(mutex_);
  const auto it = slots_.find(id);
  if (it == slots_.end()) {
    return nullptr;
  }
  Slot& slot = it->second;
  const auto was = by_key_.find(KeyOf(*slot.node));
  const bool keyed = was != by_key_.end() && was->second == id;
  auto changed = std::make_shared<Node>(*slot.node);
  change(*changed);
  if (keyed) {
    by_key_.erase(was);
    by_key_.insert_or_assign(KeyOf(*changed), id);
  }
  slot.node = std::move(changed);
  if (stored_name != nullptr) {
    slot.location.stored_name = *stored_name;
  }
  return slot.node;
}

void NodeTable::EraseKey(const Node& node) {
  const auto key = by_key_.find(KeyOf(node));
  if (key != by_key_.end() && key->second == node.id) {
    by_key_.erase(key);
  }
}

void NodeTable::Unkey(NodeId id) {
  MutexLock lock(mutex_);
  if (const auto it = slots_.find(id); it != slots_.end()) {
    EraseKey(*it->second.node);
  }
}

bool NodeTable::Pin(NodeId id) {
  MutexLock lock(mutex_);
  const auto it = slots_.find(id);
  if (it == slots_.end()) {
    return false;
  }
  ++it->second.lookups;
  return true;
}

bool NodeTable::IsBelow(NodeId id, NodeId dir) {
  MutexLock lock(mutex_);
  return slots_.contains(id) && IsInside(id, dir);
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
  std::vector<NodePtr> dead;  // freed after the lock is released: what they hold may cost I/O
  MutexLock lock(mutex_);
  const auto it = slots_.find(id);
  if (it == slots_.end() || id == kRootNode) {
    return {};
  }
  it->second.lookups -= std::min(count, it->second.lookups);
  std::vector<NodeId> dropped = DropUnused(id);
  dead.swap(dead_);
  return dropped;
}

// Drops `id` if nothing holds it, then its parent if only this child held that, and so on.
std::vector<NodeId> NodeTable::DropUnused(NodeId id) {
  std::vector<NodeId> dropped;
  while (id != kRootNode && id != 0) {
    const auto it = slots_.find(id);
    const Slot& slot = it->second;
    if (slot.lookups != 0 || slot.children != 0) {
      break;
    }
    EraseKey(*slot.node);
    if (const auto shown = shown_.find(slot.node->shown_inode);
        shown != shown_.end() && shown->second == id) {
      shown_.erase(shown);
    }
    const NodeId parent = slot.location.parent;
    dead_.push_back(slot.node);
    slots_.erase(it);
    dropped.push_back(id);
    --slots_.at(parent).children;
    id = parent;
  }
  return dropped;
}

NodeTable::Location NodeTable::LocationOf(NodeId id) {
  MutexLock lock(mutex_);
  const auto it = slots_.find(id);
  return it == slots_.end() ? Location{} : it->second.location;
}

std::vector<NodeTable::Step> NodeTable::WayUp(NodeId id) {
  std::vector<Step> way;
  MutexLock lock(mutex_);
  for (auto it = slots_.find(id); it != slots_.end();
       it = slots_.find(it->second.location.parent)) {
    way.push_back({it->first, it->second.location.stored_name});
  }
  return way;
}

std::string NodeTable::PathOf(NodeId id) { return PathBelowRoot(WayUp(id), kMostPathParts); }

std::string NodeTable::FullPathOf(NodeId id) { return PathBelowRoot(WayUp(id), SIZE_MAX); }

std::string NodeTable::PathIn(NodeId dir, const std::string& stored_name) {
  return dir == kRootNode ? stored_name : PathOf(dir) + "/" + stored_name;
}

std::optional<std::string> NodeTable::PathBelow(NodeId id, NodeId dir) {
  const std::vector<Step> way = WayUp(id);
  const auto top =
      std::find_if(way.begin(), way.end(), [dir](const Step& step) { return step.id == dir; });
  if (top == way.end()) {
    return std::nullopt;
  }
  return xzfs::PathOf({way.begin(), top});
}

unsigned NodeTable::DepthOf(NodeId id) {
  MutexLock lock(mutex_);
  unsigned depth = 0;
  for (auto it = slots_.find(id); it != slots_.end() && it->second.location.parent != 0;
       it = slots_.find(it->second.location.parent)) {
    ++depth;
  }
  return depth;
}

std::vector<NodeId> NodeTable::FileIds() {
  std::vector<NodeId> ids;
  MutexLock lock(mutex_);
  for (const auto& [id, slot] : slots_) {
    if (slot.node->kind == StoredKind::kPlain || slot.node->kind == StoredKind::kCompressed) {
      ids.push_back(id);
    }
  }
  return ids;
}

size_t NodeTable::size() {
  MutexLock lock(mutex_);
  return slots_.size();
}

}  // namespace xzfs
