// Names that an operation is about to make, change or remove.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>
#include <utility>

#include "fs/zone_table.h"
#include "xzfs/result.h"

namespace xzfs {

class Borders;
struct Caller;
class NameLimits;
class NodeTree;
class Os;

// A name in a directory that is open.
struct Place {
  NodePtr dir;
  DescriptorPtr descriptor;
  std::string name;  // the logical one
  int fd() const { return descriptor->descriptor.get(); }
};

// Checks and finds names for such operations. Thread-safe.
class Places {
 public:
  Places(NodeTree& tree, ZoneTable& zones, Borders& borders, NameLimits& limits, Os& os);

  // Call it before the others. REQUIRES: no lock is held.
  Status PrepareToName(NodeId parent);
  // REQUIRES, here and below: names are held.
  Result<Place> PlaceAt(NodeId parent, const std::string& name);
  // The file that has the name, or nothing.
  Result<std::optional<StoredEntry>> EntryAt(const Place& place);
  // The stored name with which `entry` gets the logical name of `place`. `replaced`: the entry that
  // loses that name; may be null.
  Result<std::string> StoredNameFor(const Place& place, const StoredEntry& entry,
                                    const StoredEntry* replaced);
  // For a new name. Names in the source may be longer.
  Status RequireShort(const Place& place);
  // Fails if a file has the name, or if it is too long.
  Status RequireFree(const Place& place);
  // `mode` without the bits of the caller's umask, unless the directory has a default ACL, which
  // replaces the umask.
  mode_t MaskedMode(const Place& place, mode_t mode, const Caller& caller);

 private:
  NodeTree& tree_;
  NodeTable& nodes_;
  SourceDir& names_;
  ZoneTable& zones_;
  Borders& borders_;
  NameLimits& limits_;
  Os& os_;
};

}  // namespace xzfs
