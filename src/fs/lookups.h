// From names to nodes.
#pragma once

#include <string>

#include "base/report_once.h"
#include "fs/answers.h"
#include "fs/version_reader.h"
#include "xzfs/result.h"

namespace xzfs {

class Borders;
class EditedFiles;
class HalfDoneOperations;
class NameLimits;
class NodeTree;
class Orphans;
struct Stats;

// Whether a call may decode a whole file, which takes minutes.
enum class Decoding { kAllowed, kForbidden };

// Thread-safe.
class Lookups {
 public:
  Lookups(NodeTree& tree, Borders& borders, HalfDoneOperations& half_done, EditedFiles& edited,
          Orphans& orphans, VersionReader& versions, NameLimits& limits, Stats& stats);

  // The size of a file in an older format may only be known after decoding the whole file. If that
  // is forbidden the call fails with EINPROGRESS.
  Result<LookupResult> Lookup(NodeId parent, const std::string& name,
                              Decoding decoding = Decoding::kAllowed);
  // Finds the file that is stored at `path`, and counts one lookup.
  Result<NodeId> LookupPath(const std::string& path);
  // Finds or makes the node of `entry`, which was found in `parent`, and counts a lookup.
  // `looked_into`: VersionReader's result for that version; may be null. REQUIRES: names are held.
  Result<LookupResult> Register(NodeId parent, StoredEntry entry,
                                const Node* looked_into = nullptr);
  // The same for a name that was just made in the directory that is open as `fd`.
  Result<LookupResult> RegisterNew(NodeId parent, int fd, const std::string& stored_name);
  // Whether the size of the file is unknown and may take long to find out.
  bool IsUnknownLegacy(const StoredEntry& entry);

  // Reports of stored files that want the same name, or that keep another from its place.
  ReportOnce& collisions() { return collisions_; }

 private:
  Result<StoredEntry> LookupIn(const Node& parent, int dir, const std::string& name);
  void ReportCollision(NodeId parent, const StoredEntry& entry);
  static Node NodeOf(const StoredEntry& entry);

  NodeTree& tree_;
  NodeTable& nodes_;
  SharedMutex& namespace_;
  Borders& borders_;
  HalfDoneOperations& half_done_;
  EditedFiles& edited_;
  Orphans& orphans_;
  VersionReader& versions_;
  NameLimits& limits_;
  Stats& stats_;
  ReportOnce collisions_;
};

}  // namespace xzfs
