// From names to nodes.
#pragma once

#include <string>

#include "base/report_once.h"
#include "fs/answers.h"
#include "fs/borders.h"
#include "fs/edited_files.h"
#include "fs/half_done.h"
#include "fs/name_limits.h"
#include "fs/node_tree.h"
#include "fs/orphans.h"
#include "fs/version_reader.h"
#include "xzfs/result.h"

namespace xzfs {

// Thread-safe.
class Lookups {
 public:
  Lookups(NodeTree& tree, Borders& borders, HalfDoneOperations& half_done, EditedFiles& edited,
          Orphans& orphans, VersionReader& versions, NameLimits& limits, Stats& stats);

  // A file of an older format may have to be decoded whole for its size, which takes minutes: with
  // `may_decode` false the call fails with EINPROGRESS instead.
  Result<LookupResult> Lookup(NodeId parent, const std::string& name, bool may_decode = true);
  // The file that is stored at `path`, with one lookup counted.
  Result<NodeId> LookupPath(const std::string& path);
  // Makes `entry`, found in `parent`, a node (or finds the one that it is) and counts a lookup.
  // `looked_into`: what VersionReader has made of that version; may be null. REQUIRES: names are
  // held.
  Result<LookupResult> Register(NodeId parent, StoredEntry entry,
                                const Node* looked_into = nullptr);
  // The same of a name that was just made in the directory that is open as `fd`.
  Result<LookupResult> RegisterNew(NodeId parent, int fd, const std::string& stored_name);
  // Its size is not known, and may take long to find out.
  bool IsUnknownLegacy(const StoredEntry& entry);

  // Two stored files want one name, or one keeps another from its place.
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
