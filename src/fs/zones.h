// Parts of a source within which renames are possible.
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
#include "store/home.h"
#include "xzfs/result.h"

namespace xzfs {

class Overlay;
class Session;

// One file system below the source, or a part of one, with its own `.xzfs/` in its topmost
// directory. Pending changes of a file are in a session of its zone; paths in a session are below
// the zone's top. A directory belongs to the zone whose top is the directory itself or the nearest
// one above it (ZoneTops::ZoneOf); a file belongs to the zone of its directory.
enum class ZoneKind {
  kMount,  // the directory above its top is on another file system or mount
  kPart,   // a rename out of it failed with EXDEV, or its top has an `.xzfs/`
};

struct Zone {
  NodeId top = kRootNode;
  // Of all directories in it.
  uint64_t device = 0;
  uint64_t mount_id = 0;
  ZoneKind kind = ZoneKind::kMount;

  // Another mount has this, or a directory above it, as its source: nothing may be changed here.
  std::atomic<bool> is_foreign{false};
  // What its `.xzfs/` held at the first visit was taken over.
  std::atomic<bool> is_adopted{false};

  Mutex mutex;
  // The top, open; null as long as no session needs it.
  DescriptorPtr directory GUARDED_BY(mutex);
  std::shared_ptr<Session> session GUARDED_BY(mutex);  // ours; null until it's needed
  // Sessions of earlier mounts; kept as long as they hold overlays.
  std::vector<std::shared_ptr<Session>> adopted GUARDED_BY(mutex);
  // Why no session could be made, until it is tried again.
  std::optional<Error> refusal GUARDED_BY(mutex);
  std::chrono::steady_clock::time_point refused_until GUARDED_BY(mutex);
};
using ZonePtr = std::shared_ptr<Zone>;

inline HomeTop HomeTopOf(const Zone& zone) {
  return zone.top == kRootNode ? HomeTop::kSourceRoot : HomeTop::kBelow;
}

// An overlay whose base was not found yet.
struct Orphan {
  ZonePtr zone;
  std::shared_ptr<Session> session;
  std::shared_ptr<Overlay> overlay;
};

}  // namespace xzfs
