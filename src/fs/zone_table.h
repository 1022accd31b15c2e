// The zones of a source, and our sessions in them.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "fs/node_tree.h"
#include "fs/zones.h"
#include "xzfs/result.h"

namespace xzfs {

struct Options;
class Session;

// Thread-safe. A zone's own mutex is taken before that of the table.
class ZoneTable {
 public:
  ZoneTable(const Options& options, NodeTree& tree, Os& os);

  // The root's zone, and all zones with sessions.
  std::vector<ZonePtr> Zones() EXCLUDES(mutex_);
  // The zone with the top `top`; makes it if there is none.
  ZonePtr NewZone(NodeId top, const FileFacts& facts, ZoneKind kind);
  // Keeps the zone's top open and its node known from now on. REQUIRES: the zone is about to get a
  // session.
  void KeepZone(const ZonePtr& zone, const DescriptorPtr& top) REQUIRES(zone->mutex)
      EXCLUDES(mutex_);

  // Our session in the zone of a file or directory; makes it if there is none.
  Result<std::shared_ptr<Session>> SessionFor(NodeId id);
  Result<std::shared_ptr<Session>> SessionFor(const ZonePtr& zone);
  // Whether no session can be made there for now.
  bool IsRefused(Zone& zone);
  // Notes that no session can be made there, and the reason.
  void Refuse(Zone& zone, const Error& error) REQUIRES(zone.mutex);
  // Whether it is the folder of one of our sessions.
  bool IsOurSession(const FileId& folder);
  // The path of the session's `.xzfs`, for messages.
  std::string HomeOf(const Session& session);
  // Removes the empty `.xzfs/` of the directory that is stored as `name` in `dir`. False if it
  // isn't empty.
  bool RemoveHome(int dir, const std::string& name);

  // The path below the top of the node's zone.
  std::string PathInZone(NodeId id);
  std::string PathInZone(NodeId dir, const std::string& stored_name);
  // Whether the file that is stored as `name` in a directory of the zone is a mount point.
  bool IsMountPoint(const Zone& zone, int dir, const std::string& name);

  // EROFS: the mount is read-only.
  Status RequireWritable() const;
  // The same; or the node lies in another mount's source.
  Status RequireWritableAt(NodeId id);
  // Call it when a zone turns out to be another mount's source.
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
