// Where one zone ends and another begins.
#pragma once

#include <functional>
#include <string>

#include "base/mutex.h"
#include "base/report_once.h"
#include "fs/zone_table.h"
#include "fs/zones.h"
#include "xzfs/result.h"

namespace xzfs {

class NodeTree;
struct Options;

// A source may span several file systems: mounts, subvolumes, and parts of one that a rename can't
// leave. EnterDirectory examines each directory before a name in it is looked up. Thread-safe.
class Borders {
 public:
  Borders(const Options& options, NodeTree& tree, ZoneTable& zones, Os& os);

  // Takes over what earlier mounts left in a zone whose top is open. Blocks.
  using Recover = std::function<Status(const ZonePtr& zone, const DescriptorPtr& top)>;
  // Not thread-safe: call it before the first request.
  void SetRecover(Recover recover) { recover_ = std::move(recover); }

  // Call it before looking at a name in the directory `id`. Blocks: while it takes over what an
  // earlier mount left there. REQUIRES: names are not held.
  Status EnterDirectory(NodeId id) EXCLUDES(mutex_);
  // Whether `name` in the directory `dir`, open as `fd`, is the mount's own folder.
  bool IsPrivate(NodeId dir, int fd, const std::string& name);
  // Logs that the directory has the folder of another source.
  void ReportCopy(NodeId id);

  // A rename from the zone's session to the directory of `file` failed with EXDEV although no
  // border is visible. Finds the topmost directory that a session in it can reach by a rename, and
  // makes it a zone.
  void SplitZone(NodeId file, const ZonePtr& zone) EXCLUDES(mutex_);

 private:
  Status TakeUp(NodeId id, const DescriptorPtr& top, const FileFacts& facts, int home)
      EXCLUDES(mutex_);
  bool IsOthersSource(int top, int home);
  bool Reaches(Session& from, Session& to);

  const Options& options_;
  NodeTree& tree_;
  NodeTable& nodes_;
  ZoneTwins& twins_;
  ZoneTable& zones_;
  Os& os_;
  Recover recover_;
  ReportOnce copies_;
  // Held while a zone is taken over from earlier mounts, and while SplitZone makes one.
  Mutex mutex_;
};

}  // namespace xzfs
