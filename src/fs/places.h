// Names that are about to be made, changed or removed.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>
#include <utility>

#include "base/caller.h"
#include "base/os.h"
#include "fs/borders.h"
#include "fs/name_limits.h"
#include "fs/node_tree.h"
#include "fs/zone_table.h"
#include "xzfs/result.h"

namespace xzfs {

// A name in a directory that is open.
struct Place {
  NodePtr dir;
  DescriptorPtr descriptor;
  std::string name;  // the logical one
  int fd() const { return descriptor->descriptor.get(); }
};

// What may be done to a name. Thread-safe.
class Places {
 public:
  Places(NodeTree& tree, ZoneTable& zones, Borders& borders, NameLimits& limits, Os& os);

  // A name in the directory is about to be made, changed or removed. REQUIRES: no lock is held.
  Status PrepareToName(NodeId parent);
  // The rest with names held.
  Result<Place> PlaceAt(NodeId parent, const std::string& name);
  // What has the name, or nothing.
  Result<std::optional<StoredEntry>> EntryAt(const Place& place);
  // The name under which `entry` is to be stored in `place`, to be shown with its name. `replaced`:
  // what has that name now and goes; may be null.
  Result<std::string> StoredNameFor(const Place& place, const StoredEntry& entry,
                                    const StoredEntry* replaced);
  // For a name that is new. What the source has may be longer.
  Status RequireShort(const Place& place);
  // Nothing has the name, and it isn't too long.
  Status RequireFree(const Place& place);
  // Without the bits of the caller's umask, whose place a default ACL of the directory takes.
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
