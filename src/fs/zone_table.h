// The zones of a source, and our sessions in them.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "fs/node_tree.h"
#include "fs/options.h"
#include "fs/zones.h"
#include "store/session.h"
#include "xzfs/result.h"

namespace xzfs {

// Thread-safe. A zone's own mutex is taken before that of the table.
class ZoneTable {
 public:
  ZoneTable(const Options& options, NodeTree& tree, Os& os);

  // The root's, and those with sessions.
  std::vector<ZonePtr> Zones() EXCLUDES(mutex_);
  // The zone of which `top` is the top, made unless there is one.
  ZonePtr NewZone(NodeId top, const FileFacts& facts, bool is_border);
  // Its top is kept open, and its node known, from now on. REQUIRES: a session is about to be
  // there.
  void KeepZone(const ZonePtr& zone, const DescriptorPtr& top) REQUIRES(zone->mutex)
      EXCLUDES(mutex_);

  // Our session in the zone of a file or directory, made if there is none.
  Result<std::shared_ptr<Session>> SessionFor(NodeId id);
  Result<std::shared_ptr<Session>> SessionFor(const ZonePtr& zone);
  // No session can be made there for now.
  bool IsRefused(Zone& zone);
  // None can be made, and why.
  void Refuse(Zone& zone, const Error& error) REQUIRES(zone.mutex);
  // A session of ours has that folder.
  bool IsOurSession(const FileId& folder);
  // Of a session in a message.
  std::string HomeOf(const Session& session);
  // Removes the empty `.xzfs/` of the directory that is stored as `name` in `dir`. False if
  // something is in it.
  bool RemoveHome(int dir, const std::string& name);

  // Below the top of the zone that the node is in.
  std::string PathInZone(NodeId id);
  std::string PathInZone(NodeId dir, const std::string& stored_name);
  // The file itself, stored as `name` in a directory of the zone, is where something is mounted.
  bool IsMountPoint(const Zone& zone, int dir, const std::string& name);

  // EROFS: the mount is read-only.
  Status RequireWritable() const;
  // The same; and another mount's source is not to be changed.
  Status RequireWritableAt(NodeId id);
  // A zone that is another mount's source was met.
  void NoteForeign() { has_foreign_ = true; }

 private:
  Result<std::shared_ptr<Session>> MakeSession(const ZonePtr& zone) REQUIRES(zone->mutex);

  const Options& options_;
  NodeTree& tree_;
  NodeTable& nodes_;
  ZoneTwins& twins_;
  Os& os_;
  Mutex mutex_;
  std::vector<ZonePtr> zones_ GUARDED_BY(mutex_);
  std::atomic<bool> has_foreign_{false};
};

}  // namespace xzfs
