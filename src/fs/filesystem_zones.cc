// A source may span several file systems: mounts, subvolumes, and parts of one that a rename can't
// leave. Each is a zone with an `.xzfs/` of its own (fs/zones.h).
//
// Whoever asks for a name in a directory has it looked at first (EnterDirectory): whether a border
// lies above it, and whether it has an `.xzfs/`. What an earlier mount left there is taken up
// before the first name is answered. All directories above were looked at before, as nobody comes
// here but through them. The look is repeated every second, as file systems and other mounts come
// and go.
#include <fcntl.h>
#include <linux/fs.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/log.h"
#include "fs/filesystem.h"
#include "fs/filesystem_places.h"
#include "store/home.h"
#include "store/intents.h"
#include "store/kept_times.h"
#include "store/names.h"

namespace xzfs {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::nanoseconds kLookInterval = std::chrono::seconds(1);
// How long a place where no session could be made is left alone.
constexpr std::chrono::seconds kRefusalPause(60);

int64_t NowNs() { return std::chrono::nanoseconds(steady_clock::now().time_since_epoch()).count(); }

// It would be the same again; other errors are those of the moment.
bool IsLasting(int code) {
  return code == EROFS || code == EACCES || code == EPERM || code == EDQUOT || code == ENOSPC ||
         code == EEXIST || code == EOPNOTSUPP;
}

bool IsOtherMount(const FileFacts& facts, const Zone& zone) {
  return facts.attributes.st_dev != zone.device ||
         (facts.mount_id != 0 && zone.mount_id != 0 && facts.mount_id != zone.mount_id);
}

}  // namespace

NodePtr Filesystem::KnownNode(const StoredEntry& entry) {
  return nodes_.FindBy(entry.kind, entry.format, Identity::Of(entry.attributes), entry.mount_id);
}

void Filesystem::MakeRootZone() {
  auto zone = std::make_shared<Zone>();
  FileFacts facts;
  if (os_.FactsAt(root_->descriptor.get(), "", &facts) == 0) {
    zone->mount_id = facts.mount_id;
  }
  zone->device = root_device();
  zone->is_adopted = true;  // by Start
  {
    MutexLock lock(zone->mutex);
    zone->directory = root_;
  }
  nodes_.SetZone(kRootNode, zone);
  twins_.Add(*zone);
  MutexLock lock(zones_mutex_);
  zones_.push_back(std::move(zone));
}

bool Filesystem::IsPrivate(NodeId dir, int fd, const std::string& name) {
  if (name != kPrivateFolder || dir == kRootNode) {
    return name == kPrivateFolder;
  }
  const auto home = LookAtHome(os_, fd, /*is_root=*/false);
  return home && (home->kind == HomeKind::kOurs || home->kind == HomeKind::kCopy);
}

Status Filesystem::EnterDirectory(NodeId id) {
  const int64_t now = NowNs();
  if (id == kRootNode || nodes_.WasLookedAt(id, now - kLookInterval.count())) {
    return {};
  }
  const NodePtr node = nodes_.Find(id);
  if (node == nullptr || node->kind != StoredKind::kDirectory) {
    return {};  // whoever asks is told so
  }
  const auto open = OpenNode(node);
  if (!open) {
    return {};
  }
  const int fd = (*open)->descriptor.get();
  FileFacts facts;
  const ZonePtr around = nodes_.ZoneOf(nodes_.LocationOf(id).parent);
  if (around == nullptr || os_.FactsAt(fd, "", &facts) < 0) {
    return {};
  }
  ZonePtr zone = nodes_.ZoneAt(id);
  if (zone == nullptr && IsOtherMount(facts, *around)) {
    zone = NewZone(id, facts, /*is_border=*/true);
  }
  const auto home = LookAtHome(os_, fd, /*is_root=*/false);
  if (!home) {
    Log(LogLevel::kDebug, nodes_.PathOf(id) + ": " + home.error().message);
  } else if (home->kind == HomeKind::kCopy) {
    ReportCopy(id);
  } else if (home->kind == HomeKind::kOurs && home->folder.valid() && !options_.read_only &&
             (zone == nullptr || !zone->is_adopted || zone->is_foreign)) {
    XZFS_RETURN_IF_ERROR(TakeUp(id, *open, facts, home->folder.get()));
  }
  nodes_.NoteLook(id, now);
  return {};
}

ZonePtr Filesystem::NewZone(NodeId top, const FileFacts& facts, bool is_border) {
  auto zone = std::make_shared<Zone>();
  zone->top = top;
  zone->device = facts.attributes.st_dev;
  zone->mount_id = facts.mount_id;
  zone->is_border = is_border;
  ZonePtr set = nodes_.SetZone(top, zone);
  set = set == nullptr ? zone : set;
  twins_.Add(*set);
  return set;
}

DescriptorPtr Filesystem::OpenTop(NodeId top) {
  const NodePtr node = nodes_.Find(top);
  const auto open = node == nullptr ? Result<DescriptorPtr>(nullptr) : OpenNode(node);
  return open ? *open : nullptr;
}

void Filesystem::ReportCopy(NodeId id) {
  const std::string path = nodes_.PathIn(id, std::string(kPrivateFolder));
  copies_.Report(LogLevel::kWarning, path,
                 path +
                     " is a copy of another source's folder: nothing in it is applied. What is "
                     "pending there belongs to the source that was copied; remove the folder "
                     "in the source, once you don't need it");
}

// Of a session in a message.
std::string Filesystem::HomeOf(const Session& session) {
  for (const ZonePtr& zone : Zones()) {
    MutexLock lock(zone->mutex);
    if (zone->directory != nullptr && zone->directory->descriptor.get() == session.top()) {
      return nodes_.PathIn(zone->top, std::string(kPrivateFolder));
    }
  }
  return std::string(kPrivateFolder);
}

// What is in the `.xzfs/` that is open as `home`, in the directory `id`.
Status Filesystem::TakeUp(NodeId id, const DescriptorPtr& top, const FileFacts& facts, int home) {
  MutexLock entering(entering_mutex_);
  ZonePtr zone = nodes_.ZoneAt(id);
  const bool was_zone = zone != nullptr;
  if (was_zone && zone->is_adopted && !zone->is_foreign) {
    return {};  // by another thread
  }
  const bool is_foreign = IsOthersSource(top->descriptor.get(), home);
  if (!was_zone) {
    zone = NewZone(id, facts, /*is_border=*/false);
  }
  if (zone->is_foreign.exchange(is_foreign) != is_foreign) {
    has_foreign_ = true;
    const std::string path = nodes_.PathOf(id);
    Log(LogLevel::kWarning,
        is_foreign ? path +
                         " is, or lies in, the source of another mount: it is read-only here "
                         "until that has ended"
                   : path + " is no other mount's source any more, and can be written to");
  }
  if (is_foreign) {
    return {};
  }
  zone->is_adopted = true;
  Status recovered = RecoverZone(zone, top);
  MutexLock lock(zone->mutex);
  if (!zone->is_border && zone->session == nullptr && zone->adopted.empty()) {
    nodes_.DropZone(id);  // nothing is left of it
    twins_.Drop(*zone);
  }
  return recovered;
}

// Whether a process has a session there that is no mount of our source.
bool Filesystem::IsOthersSource(int top, int home) {
  const auto root = nodes_.Find(kRootNode);
  const std::vector<LivingSession> living = FindLivingSessions(os_, home);
  return std::any_of(living.begin(), living.end(), [&](const LivingSession& session) {
    if (!session.levels || IsOurSession(session.folder)) {
      return false;
    }
    const auto above = FileAbove(os_, top, *session.levels);
    return above && *above != FileId::Of(root->identity);
  });
}

bool Filesystem::IsOurSession(const FileId& folder) {
  std::vector<ZonePtr> zones = Zones();
  return std::any_of(zones.begin(), zones.end(), [&](const ZonePtr& zone) {
    struct stat st = {};
    MutexLock lock(zone->mutex);
    return zone->session != nullptr && os_.FStat(zone->session->folder(), &st) == 0 &&
           FileId::Of(st) == folder;
  });
}

std::vector<ZonePtr> Filesystem::Zones() {
  MutexLock lock(zones_mutex_);
  return zones_;
}

// Its top is kept open, and its node known, from now on. REQUIRES: a session is about to be there.
void Filesystem::KeepZone(const ZonePtr& zone, const DescriptorPtr& top) {
  if (zone->directory != nullptr) {
    return;
  }
  zone->directory = top;
  nodes_.Pin(zone->top);
  MutexLock lock(zones_mutex_);
  zones_.push_back(zone);
}

// REQUIRES: the zone's mutex.
Result<std::shared_ptr<Session>> Filesystem::MakeSession(const ZonePtr& zone) {
  if (zone->is_foreign) {
    return Fail(EROFS, nodes_.PathOf(zone->top) + " is another mount's source");
  }
  DescriptorPtr top = zone->directory;
  if (top == nullptr) {
    XZFS_ASSIGN_OR_RETURN(const NodePtr node, FindNode(zone->top));
    XZFS_ASSIGN_OR_RETURN(top, OpenNode(node));
  }
  const bool is_root = zone->top == kRootNode;
  const KeptTimes times(os_, is_root ? -1 : top->descriptor.get());
  XZFS_ASSIGN_OR_RETURN(std::shared_ptr<Session> session,
                        Session::Create(os_, top->descriptor.get(),
                                        {.is_root = is_root, .levels = nodes_.DepthOf(zone->top)}));
  KeepZone(zone, top);
  return session;
}

Result<std::shared_ptr<Session>> Filesystem::SessionFor(const ZonePtr& zone) {
  if (zone == nullptr) {
    return Fail(ESTALE, "a directory that isn't known any more");
  }
  MutexLock lock(zone->mutex);
  if (zone->session != nullptr) {
    return zone->session;
  }
  if (zone->refusal && steady_clock::now() < zone->refused_until) {
    return tl::unexpected(*zone->refusal);
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

Result<std::shared_ptr<Session>> Filesystem::SessionFor(NodeId id) {
  return SessionFor(nodes_.ZoneOf(id));
}

bool Filesystem::IsRefused(Zone& zone) {
  MutexLock lock(zone.mutex);
  return zone.session == nullptr && zone.refusal.has_value();
}

// The file itself, stored as `name` in a directory of the zone, is where something is mounted.
bool Filesystem::IsMountPoint(const Zone& zone, int dir, const std::string& name) {
  FileFacts facts;
  return zone.mount_id != 0 && os_.FactsAt(dir, name, &facts) == 0 && facts.mount_id != 0 &&
         facts.mount_id != zone.mount_id;
}

// REQUIRES: the zone's mutex.
void Filesystem::Refuse(Zone& zone, const Error& error) {
  if (!zone.refusal || zone.refusal->code != error.code) {
    Log(LogLevel::kWarning, nodes_.PathOf(zone.top) + ": " + error.message +
                                ": plain files there stay plain, and compressed ones can't be "
                                "changed");
  }
  zone.refusal = error;
  zone.refused_until = steady_clock::now() + kRefusalPause;
}

std::string Filesystem::PathInZone(NodeId id) {
  std::string path;
  nodes_.ZoneOf(id, &path);
  return path;
}

std::string Filesystem::PathInZone(NodeId dir, const std::string& stored_name) {
  const std::string path = PathInZone(dir);
  return path.empty() ? stored_name : path + "/" + stored_name;
}

// Another mount's source is not to be changed.
Status Filesystem::RequireWritableAt(NodeId id) {
  XZFS_RETURN_IF_ERROR(RequireWritable());
  if (has_foreign_) {
    const ZonePtr zone = nodes_.ZoneOf(id);
    if (zone != nullptr && zone->is_foreign) {
      return Fail(EROFS, nodes_.PathOf(zone->top) + " is another mount's source");
    }
  }
  return {};
}

// Whether a rename from the session in `from` to the one in `to` is possible.
bool Filesystem::Reaches(Session& from, Session& to) {
  auto probe = from.MakeTemp();
  if (!probe) {
    return false;
  }
  const int error = RenameOverNothing(os_, from.folder(), probe->name, to.folder(), probe->name);
  (error == 0 ? to : from).Unlink(probe->name);
  return error == 0;
}

// A rename from the zone's session to the directory of `file` said EXDEV though no border is seen:
// there is one, above the topmost directory from which one reaches it.
void Filesystem::SplitZone(NodeId file, const ZonePtr& zone) {
  MutexLock entering(entering_mutex_);
  NodeId at = nodes_.LocationOf(file).parent;
  const ZonePtr around = nodes_.ZoneOf(at);
  NodePtr node = nodes_.Find(at);
  if (around == nullptr || around != zone || node == nullptr || at == around->top) {
    return;  // another thread has done it; or there is nothing between the two
  }
  FileFacts facts;
  std::shared_ptr<Session> session;
  DescriptorPtr top;
  Error refusal{EXDEV, "no session"};
  for (NodePtr next = node; next != nullptr && next->id != around->top;
       next = nodes_.Find(nodes_.LocationOf(next->id).parent)) {
    const auto open = OpenNode(next);
    const KeptTimes times(os_, open ? (*open)->descriptor.get() : -1);
    auto made = open ? Session::Create(os_, (*open)->descriptor.get(),
                                       {.is_root = false, .levels = nodes_.DepthOf(next->id)})
                     : tl::unexpected(open.error());
    const bool reaches = made && (session == nullptr || Reaches(**made, *session));
    if (!reaches) {
      if (made) {
        (*made)->RemoveIfEmpty();
      } else {
        refusal = made.error();
      }
      break;
    }
    if (session != nullptr) {
      const KeptTimes kept(os_, top->descriptor.get());
      session->RemoveIfEmpty();
    }
    session = std::move(*made);
    top = *open;
    at = next->id;
  }
  const auto open = top == nullptr ? OpenNode(node) : Result<DescriptorPtr>(top);
  if (!open || os_.FactsAt((*open)->descriptor.get(), "", &facts) < 0) {
    return;
  }
  const ZonePtr made = NewZone(at, facts, /*is_border=*/false);
  MutexLock lock(made->mutex);
  if (session == nullptr) {
    Refuse(*made, refusal);
    return;
  }
  KeepZone(made, top);
  twins_.SetOwn(*made, session);
  made->session = std::move(session);
  made->is_adopted = true;
}

// `.xzfs/` is not seen, so it must not keep a directory that is to go. False if something is in it.
bool Filesystem::RemoveHome(const Place& place, const StoredEntry& entry) {
  const Descriptor dir(os_, os_.OpenBeneath(place.fd(), entry.stored_name, O_RDONLY | O_DIRECTORY));
  const auto home = dir.valid() ? LookAtHome(os_, dir.get(), /*is_root=*/false) : Result<Home>();
  if (!home || home->kind != HomeKind::kOurs || !home->folder.valid()) {
    return false;
  }
  // Found by the folder: where a directory's inode number comes from its path (mergerfs) its node
  // may be another one since it was renamed, without a zone.
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
      session->KeepPendingIf([] { return true; }, [] { return std::vector<std::string>(); });
      session->RemoveIfEmpty();
    }
  }
  static_cast<void>(Session::RemoveDeadTemps(os_, dir.get()));  // it may have gone already
  struct stat st = {};
  return os_.StatAt(dir.get(), std::string(kPrivateFolder), &st) == -ENOENT;
}

}  // namespace xzfs
