// Parts of a source within which a rename reaches.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/mutex.h"
#include "fs/node.h"
#include "store/descriptor_cache.h"
#include "store/overlay.h"
#include "store/session.h"
#include "xzfs/result.h"

namespace xzfs {

// One file system below the source, or a part of one, with its own `.xzfs/` in its topmost
// directory. What is pending of a file is in a session of its zone, and paths there are below that
// directory. A directory belongs to the zone of the nearest directory above it, or itself, that is
// the top of one (ZoneTops::ZoneOf); a file to that of its directory.
struct Zone {
  NodeId top = kRootNode;
  // Of all directories in it.
  uint64_t device = 0;
  uint64_t mount_id = 0;
  // Above it is another file system or mount. Else it's one because a rename said EXDEV, or because
  // there is an `.xzfs/` of its own.
  bool is_border = true;

  // Another mount has this as its source, or a part of it: nothing may be changed here.
  std::atomic<bool> is_foreign{false};
  // What its `.xzfs/` held when it was met is taken over.
  std::atomic<bool> is_adopted{false};

  Mutex mutex;
  // The top, open; null as long as no session needs it.
  DescriptorPtr directory GUARDED_BY(mutex);
  std::shared_ptr<Session> session GUARDED_BY(mutex);  // ours; null until it's needed
  // Of earlier mounts; kept as long as overlays are in them.
  std::vector<std::shared_ptr<Session>> adopted GUARDED_BY(mutex);
  // Why no session could be made, until it is tried again.
  std::optional<Error> refusal GUARDED_BY(mutex);
  std::chrono::steady_clock::time_point refused_until GUARDED_BY(mutex);
};
using ZonePtr = std::shared_ptr<Zone>;

// An overlay of which the base was not found yet.
struct Orphan {
  ZonePtr zone;
  std::shared_ptr<Session> session;
  std::shared_ptr<Overlay> overlay;
};

}  // namespace xzfs
