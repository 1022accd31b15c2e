// The zones of a source, and our sessions in them.
//
// A zone is found by the node of its topmost directory (ZoneTops::ZoneOf). The table has the root's
// zone and those with a session; their tops are kept open.
#include "fs/zone_table.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "base/log.h"
#include "base/try.h"
#include "fs/options.h"
#include "store/home.h"
#include "store/kept_times.h"
#include "store/names.h"

namespace xzfs {
namespace {

using std::chrono::steady_clock;

// How long to wait after a failure before the next attempt to make a session.
constexpr std::chrono::seconds kRefusalPause(60);

// Whether the error would come again; other errors are temporary.
bool IsLasting(int code) {
  return code == EROFS || code == EACCES || code == EPERM || code == EDQUOT || code == ENOSPC ||
         code == EEXIST || code == EOPNOTSUPP;
}

}  // namespace

ZoneTable::ZoneTable(const Options& options, NodeTree& tree, Os& os)
    : options_(options), tree_(tree), nodes_(tree.nodes()), twins_(tree.twins()), os_(os) {
  auto zone = std::make_shared<Zone>();
  FileFacts facts;
  if (os_.FactsAt(tree_.root()->descriptor.get(), "", &facts) == 0) {
    zone->mount_id = facts.mount_id;
  }
  zone->device = nodes_.Find(kRootNode)->identity.device;
  zone->is_adopted = true;  // by Start
  {
    MutexLock lock(zone->mutex);
    zone->directory = tree_.root();
  }
  tree_.tops().SetZone(kRootNode, zone);
  twins_.Add(*zone);
  MutexLock lock(mutex_);
  zones_.push_back(std::move(zone));
}

std::vector<ZonePtr> ZoneTable::Zones() {
  MutexLock lock(mutex_);
  return zones_;
}

ZonePtr ZoneTable::NewZone(NodeId top, const FileFacts& facts, ZoneKind kind) {
  auto zone = std::make_shared<Zone>();
  zone->top = top;
  zone->device = facts.attributes.st_dev;
  zone->mount_id = facts.mount_id;
  zone->kind = kind;
  ZonePtr set = tree_.tops().SetZone(top, zone);
  set = set == nullptr ? zone : set;
  twins_.Add(*set);
  return set;
}

void ZoneTable::KeepZone(const ZonePtr& zone, const DescriptorPtr& top) {
  if (zone->directory != nullptr) {
    return;
  }
  zone->directory = top;
  nodes_.Pin(zone->top);
  MutexLock lock(mutex_);
  zones_.push_back(zone);
}

Result<std::shared_ptr<Session>> ZoneTable::MakeSession(const ZonePtr& zone) {
  if (zone->is_foreign) {
    return Fail(EROFS, nodes_.PathOf(zone->top) + " is another mount's source");
  }
  DescriptorPtr top = zone->directory;
  if (top == nullptr) {
    XZFS_ASSIGN_OR_RETURN(const NodePtr node, tree_.FindNode(zone->top));
    XZFS_ASSIGN_OR_RETURN(top, tree_.OpenNode(node));
  }
  const bool is_root = zone->top == kRootNode;
  const KeptTimes times(os_, is_root ? -1 : top->descriptor.get());
  XZFS_ASSIGN_OR_RETURN(
      std::shared_ptr<Session> session,
      Session::Create(os_, top->descriptor.get(),
                      {.top = HomeTopOf(*zone), .levels = nodes_.DepthOf(zone->top)}));
  KeepZone(zone, top);
  return session;
}

Result<std::shared_ptr<Session>> ZoneTable::SessionFor(const ZonePtr& zone) {
  if (zone == nullptr) {
    return Fail(ESTALE, "a directory that isn't known any more");
  }
  MutexLock lock(zone->mutex);
  if (zone->session != nullptr) {
    return zone->session;
  }
  if (zone->refusal && steady_clock::now() < zone->refused_until) {
    return Failure(*zone->refusal);
  }
  auto made = MakeSession(zone);
  if (made) {
    zone->session = *made;
    twins_.SetOwn(*zone, *made);
    zone->is_adopted = true;
    zone->refusal.reset();
  } else if (zone->top != kRootNode && IsLasting(made.error().code)) {
    Refuse(*zone, made.error());
  }
  return made;
}

Result<std::shared_ptr<Session>> ZoneTable::SessionFor(NodeId id) {
  return SessionFor(tree_.tops().ZoneOf(id));
}

bool ZoneTable::IsRefused(Zone& zone) {
  MutexLock lock(zone.mutex);
  return zone.session == nullptr && zone.refusal.has_value();
}

void ZoneTable::Refuse(Zone& zone, const Error& error) {
  if (!zone.refusal || zone.refusal->code != error.code) {
    Log(LogLevel::kWarning, nodes_.PathOf(zone.top) + ": " + error.message +
                                ": plain files there stay plain, and compressed ones can't be "
                                "changed");
  }
  zone.refusal = error;
  zone.refused_until = steady_clock::now() + kRefusalPause;
}

bool ZoneTable::IsOurSession(const FileId& folder) {
  std::vector<ZonePtr> zones = Zones();
  return std::any_of(zones.begin(), zones.end(), [&](const ZonePtr& zone) {
    struct stat st = {};
    MutexLock lock(zone->mutex);
    return zone->session != nullptr && os_.FStat(zone->session->folder(), &st) == 0 &&
           FileId::Of(st) == folder;
  });
}

std::string ZoneTable::HomeOf(const Session& session) {
  for (const ZonePtr& zone : Zones()) {
    MutexLock lock(zone->mutex);
    if (zone->directory != nullptr && zone->directory->descriptor.get() == session.top()) {
      return nodes_.PathIn(zone->top, std::string(kPrivateFolder));
    }
  }
  return std::string(kPrivateFolder);
}

bool ZoneTable::IsMountPoint(const Zone& zone, int dir, const std::string& name) {
  FileFacts facts;
  return zone.mount_id != 0 && os_.FactsAt(dir, name, &facts) == 0 && facts.mount_id != 0 &&
         facts.mount_id != zone.mount_id;
}

std::string ZoneTable::PathInZone(NodeId id) {
  std::string path;
  tree_.tops().ZoneOf(id, &path);
  return path;
}

std::string ZoneTable::PathInZone(NodeId dir, const std::string& stored_name) {
  const std::string path = PathInZone(dir);
  return path.empty() ? stored_name : path + "/" + stored_name;
}

Status ZoneTable::RequireWritable() const {
  return options_.read_only ? Status(Fail(EROFS, "the mount is read-only")) : Status();
}

Status ZoneTable::RequireWritableAt(NodeId id) {
  XZFS_RETURN_IF_ERROR(RequireWritable());
  if (has_foreign_) {
    const ZonePtr zone = tree_.tops().ZoneOf(id);
    if (zone != nullptr && zone->is_foreign) {
      return Fail(EROFS, nodes_.PathOf(zone->top) + " is another mount's source");
    }
  }
  return {};
}

// Users don't see `.xzfs/`, so it must not prevent the removal of its directory.
bool ZoneTable::RemoveHome(int parent, const std::string& name) {
  const Descriptor dir(os_, os_.OpenBeneath(parent, name, O_RDONLY | O_DIRECTORY));
  const auto home = dir.valid() ? LookAtHome(os_, dir.get(), HomeTop::kBelow) : Result<Home>();
  if (!home || home->kind != HomeKind::kOurs || !home->folder.valid()) {
    return false;
  }
  // The session is found by its folder. On file systems that make a directory's inode number from
  // its path (mergerfs), a rename gives the directory another node, which has no zone.
  const auto is_there = [&](const Session& session) {
    struct stat folder = {};
    struct stat st = {};
    return os_.FStat(home->folder.get(), &folder) == 0 && os_.FStat(session.home(), &st) == 0 &&
           FileId::Of(st) == FileId::Of(folder);
  };
  for (const ZonePtr& zone : Zones()) {
    MutexLock lock(zone->mutex);
    for (const auto& session : zone->adopted) {
      if (is_there(*session)) {
        session->RemoveIfEmpty();
      }
    }
    if (zone->session != nullptr && is_there(*zone->session)) {
      const auto session = std::exchange(zone->session, nullptr);
      session->pending().KeepIf([] { return true; }, [] { return std::vector<std::string>(); });
      session->RemoveIfEmpty();
    }
  }
  static_cast<void>(Session::RemoveDeadTemps(os_, dir.get()));  // the folder may be gone already
  struct stat st = {};
  return os_.StatAt(dir.get(), std::string(kPrivateFolder), &st) == -ENOENT;
}

}  // namespace xzfs
