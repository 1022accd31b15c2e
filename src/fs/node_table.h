// The nodes that the kernel knows.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "fs/node.h"

namespace xzfs {

class InodeNumbers;

// Node ids, lookup counts, and where each node was seen last. Thread-safe; no system call
// is made under its lock. Ids are never used twice.
//
// A node lives while the kernel counts lookups of it (as it does for open files), or while it is
// the known parent of another node.
class NodeTable {
 public:
  // Where a node is stored: a name in a directory.
  struct Location {
    NodeId parent = 0;  // 0 for the root
    std::string stored_name;
    bool operator==(const Location&) const = default;
  };

  // One node on the way up to the root.
  struct Step {
    NodeId id = 0;
    std::string stored_name;  // "" for the root
  };

  // `numbers` outlives it.
  NodeTable(const struct stat& root, InodeNumbers& numbers);

  // Null if the node isn't known.
  NodePtr Find(NodeId id) EXCLUDES(mutex_);

  // The node of a file of this kind, format and identity, or null. Notes that the file was seen at
  // `location`, and counts one lookup. `gone` gets the nodes that lived only as parents of its
  // former place. `mount_id`: only for directories.
  NodePtr Acquire(StoredKind kind, Format format, const Identity& identity, uint64_t mount_id,
                  const Location& location, std::vector<NodeId>& gone) EXCLUDES(mutex_);
  // The same, but if there is no node it makes one from `candidate`, and sets its id. Null if the
  // parent was just forgotten.
  NodePtr AcquireOrAdd(Node candidate, const Location& location, std::vector<NodeId>& gone)
      EXCLUDES(mutex_);

  // The node that Acquire would return. Counts no lookup.
  NodePtr FindBy(StoredKind kind, Format format, const Identity& identity, uint64_t mount_id = 0)
      EXCLUDES(mutex_);

  // Replaces the node by a copy that `change` has changed (not its id). The node is stored as
  // `stored_name` from now on, unless that is null. Returns the new one; null if the node isn't
  // known.
  NodePtr Update(NodeId id, const std::function<void(Node&)>& change,
                 const std::string* stored_name = nullptr) EXCLUDES(mutex_);

  // Notes that the node is stored at `location` now.
  void Move(NodeId id, const Location& location, std::vector<NodeId>& gone) EXCLUDES(mutex_);
  // Adds a name; the old ones stay valid.
  void AddName(NodeId id, const Location& location, std::vector<NodeId>& gone) EXCLUDES(mutex_);

  // The file is not stored at `location` any more. If it was seen there last, another of its known
  // names takes that place.
  void DropName(NodeId id, const Location& location) EXCLUDES(mutex_);

  // The stored file lost its last name: a file that gets its inode number later is not this node.
  void Unkey(NodeId id) EXCLUDES(mutex_);

  // Counts a lookup of our own, which Forget takes back. False if the node isn't known.
  bool Pin(NodeId id) EXCLUDES(mutex_);

  // Whether `id` is `dir` or lies below it.
  bool IsBelow(NodeId id, NodeId dir) EXCLUDES(mutex_);

  // Takes `count` lookups back. Returns the nodes that it has removed.
  std::vector<NodeId> Forget(NodeId id, uint64_t count) EXCLUDES(mutex_);

  Location LocationOf(NodeId id) EXCLUDES(mutex_);
  // The way up: the node itself, the directory that it is in, and so on to the root. Empty if the
  // node isn't known.
  std::vector<Step> WayUp(NodeId id) EXCLUDES(mutex_);
  // "dir/name" below the source, for messages. If it is very long its beginning is "...".
  std::string PathOf(NodeId id) EXCLUDES(mutex_);
  // The same for a file that is stored as `stored_name` in the directory `dir`.
  std::string PathIn(NodeId dir, const std::string& stored_name) EXCLUDES(mutex_);
  // The whole path, for notes.
  std::string FullPathOf(NodeId id) EXCLUDES(mutex_);

  // The path below the directory `dir`; nothing if the node is not below it.
  std::optional<std::string> PathBelow(NodeId id, NodeId dir) EXCLUDES(mutex_);
  // The number of levels below the root.
  unsigned DepthOf(NodeId id) EXCLUDES(mutex_);

  size_t size() EXCLUDES(mutex_);
  // All regular files.
  std::vector<NodeId> FileIds() EXCLUDES(mutex_);

 private:
  // Files with equal keys are one node.
  struct Key {
    StoredKind kind;
    Format format;
    Identity identity;  // only device and inode, except for compressed files
    uint64_t mount_id;  // of directories
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    size_t operator()(const Key& key) const {
      return IdentityHash()(key.identity) ^ static_cast<size_t>(key.kind);
    }
  };
  struct Slot {
    NodePtr node;
    Location location;
    // Other places where a file with hard links was seen. Hints: their parents may be gone.
    std::vector<Location> other_names;
    uint64_t lookups = 0;
    uint64_t children = 0;  // slots whose location has this node as parent
  };

  static Key KeyOf(StoredKind kind, Format format, const Identity& identity, uint64_t mount_id);
  static Key KeyOf(const Node& node) {
    return KeyOf(node.kind, node.format, node.identity, node.mount_id);
  }
  NodePtr AcquireLocked(const Key& key, const Location& location, std::vector<NodeId>& gone)
      REQUIRES(mutex_);
  void MoveLocked(Slot& slot, const Location& location, std::vector<NodeId>& gone) REQUIRES(mutex_);
  void AddNameLocked(Slot& slot, const Location& location, std::vector<NodeId>& gone)
      REQUIRES(mutex_);
  void EraseKey(const Node& node) REQUIRES(mutex_);
  bool IsInside(NodeId inner, NodeId outer) REQUIRES(mutex_);
  std::vector<NodeId> DropUnused(NodeId id) REQUIRES(mutex_);

  InodeNumbers& numbers_;
  Mutex mutex_;
  NodeId next_id_ GUARDED_BY(mutex_) = kRootNode + 1;
  std::unordered_map<NodeId, Slot> slots_ GUARDED_BY(mutex_);
  std::vector<NodePtr> dead_ GUARDED_BY(mutex_);  // of removed slots, to be freed without the lock
  std::unordered_map<Key, NodeId, KeyHash> by_key_ GUARDED_BY(mutex_);
  // The inode numbers in the mount, and the node that has each.
  std::unordered_map<uint64_t, NodeId> shown_ GUARDED_BY(mutex_);
};

// The path that these steps of a way up make: the names, the last step's first.
std::string PathOf(std::span<const NodeTable::Step> steps);

}  // namespace xzfs
