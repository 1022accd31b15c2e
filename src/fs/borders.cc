// A source may span several file systems: mounts, subvolumes, and parts of one that a rename can't
// leave. Each is a zone with an `.xzfs/` of its own (fs/zones.h).
//
// EnterDirectory examines a directory before a name in it is looked up: whether it is on another
// mount than the directory above, and whether it has an `.xzfs/`. The mount takes over what an
// earlier mount left there before it answers the first name. All directories above were examined
// before, since each request has come through them. The examination is repeated every second,
// because file systems and other mounts come and go.
#include "fs/borders.h"

#include <fcntl.h>
#include <linux/fs.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "base/log.h"
#include "base/try.h"
#include "fs/options.h"
#include "store/home.h"
#include "store/intents.h"
#include "store/kept_times.h"
#include "store/names.h"

namespace xzfs {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::nanoseconds kLookInterval = std::chrono::seconds(1);

int64_t NowNs() { return std::chrono::nanoseconds(steady_clock::now().time_since_epoch()).count(); }

bool IsOtherMount(const FileFacts& facts, const Zone& zone) {
  return facts.attributes.st_dev != zone.device ||
         (facts.mount_id != 0 && zone.mount_id != 0 && facts.mount_id != zone.mount_id);
}

}  // namespace

Borders::Borders(const Options& options, NodeTree& tree, ZoneTable& zones, Os& os)
    : options_(options),
      tree_(tree),
      nodes_(tree.nodes()),
      twins_(tree.twins()),
      zones_(zones),
      os_(os) {}

bool Borders::IsPrivate(NodeId dir, int fd, const std::string& name) {
  if (name != kPrivateFolder || dir == kRootNode) {
    return name == kPrivateFolder;
  }
  const auto home = LookAtHome(os_, fd, HomeTop::kBelow);
  return home && (home->kind == HomeKind::kOurs || home->kind == HomeKind::kCopy);
}

Status Borders::EnterDirectory(NodeId id) {
  const int64_t now = NowNs();
  if (id == kRootNode || tree_.tops().WasLookedAt(id, now - kLookInterval.count())) {
    return {};
  }
  const NodePtr node = nodes_.Find(id);
  if (node == nullptr || node->kind != StoredKind::kDirectory) {
    return {};  // the request fails with the right error later
  }
  const auto open = tree_.OpenNode(node);
  if (!open) {
    return {};
  }
  const int fd = (*open)->descriptor.get();
  FileFacts facts;
  const ZonePtr around = tree_.tops().ZoneOf(nodes_.LocationOf(id).parent);
  if (around == nullptr || os_.FactsAt(fd, "", &facts) < 0) {
    return {};
  }
  ZonePtr zone = tree_.tops().ZoneAt(id);
  if (zone == nullptr && IsOtherMount(facts, *around)) {
    zone = zones_.NewZone(id, facts, ZoneKind::kMount);
  }
  const auto home = LookAtHome(os_, fd, HomeTop::kBelow);
  if (!home) {
    Log(LogLevel::kDebug, nodes_.PathOf(id) + ": " + home.error().message);
  } else if (home->kind == HomeKind::kCopy) {
    ReportCopy(id);
  } else if (home->kind == HomeKind::kOurs && home->folder.valid() && !options_.read_only &&
             (zone == nullptr || !zone->is_adopted || zone->is_foreign)) {
    XZFS_RETURN_IF_ERROR(TakeUp(id, *open, facts, home->folder.get()));
  }
  tree_.tops().NoteLook(id, now);
  return {};
}

void Borders::ReportCopy(NodeId id) {
  const std::string path = nodes_.PathIn(id, std::string(kPrivateFolder));
  copies_.Report(LogLevel::kWarning, path,
                 path +
                     " is a copy of another source's folder, so nothing in it is applied. "
                     "Its pending changes belong to the source that was copied; remove the "
                     "folder from this source when you don't need it");
}

// Takes over the `.xzfs/` that is open as `home`, in the directory `id`.
Status Borders::TakeUp(NodeId id, const DescriptorPtr& top, const FileFacts& facts, int home) {
  MutexLock entering(mutex_);
  ZonePtr zone = tree_.tops().ZoneAt(id);
  const bool was_zone = zone != nullptr;
  if (was_zone && zone->is_adopted && !zone->is_foreign) {
    return {};  // another thread has done it
  }
  const bool is_foreign = IsOthersSource(top->descriptor.get(), home);
  if (!was_zone) {
    zone = zones_.NewZone(id, facts, ZoneKind::kPart);
  }
  if (zone->is_foreign.exchange(is_foreign) != is_foreign) {
    zones_.NoteForeign();
    const std::string path = nodes_.PathOf(id);
    Log(LogLevel::kWarning,
        is_foreign ? path +
                         " is, or lies in, the source of another mount: it is read-only here "
                         "until that mount ends"
                   : path + " is no longer in the source of another mount, and can be written to");
  }
  if (is_foreign) {
    return {};
  }
  zone->is_adopted = true;
  Status recovered = recover_(zone, top);
  MutexLock lock(zone->mutex);
  if (zone->kind == ZoneKind::kPart && zone->session == nullptr && zone->adopted.empty()) {
    tree_.tops().DropZone(id);  // nothing makes it a zone any more
    twins_.Drop(*zone);
  }
  return recovered;
}

// Whether a process with another source than ours has a session there.
bool Borders::IsOthersSource(int top, int home) {
  const auto root = nodes_.Find(kRootNode);
  const std::vector<LivingSession> living = FindLivingSessions(os_, home);
  return std::any_of(living.begin(), living.end(), [&](const LivingSession& session) {
    if (!session.levels || zones_.IsOurSession(session.folder)) {
      return false;
    }
    const auto above = FileAbove(os_, top, *session.levels);
    return above && *above != FileId::Of(root->identity);
  });
}

// Goes up from the directory of `file` as long as a session there can reach it by a rename.
void Borders::SplitZone(NodeId file, const ZonePtr& zone) {
  MutexLock entering(mutex_);
  NodeId at = nodes_.LocationOf(file).parent;
  const ZonePtr around = tree_.tops().ZoneOf(at);
  NodePtr node = nodes_.Find(at);
  if (around == nullptr || around != zone || node == nullptr || at == around->top) {
    return;  // another thread has done it; or there is nothing between the two
  }
  FileFacts facts;
  std::shared_ptr<Session> session;
  DescriptorPtr top;
  Error refusal{ErrorKind::kSystem, EXDEV, "no session"};
  for (NodePtr next = node; next != nullptr && next->id != around->top;
       next = nodes_.Find(nodes_.LocationOf(next->id).parent)) {
    const auto open = tree_.OpenNode(next);
    const KeptTimes times(os_, open ? (*open)->descriptor.get() : -1);
    auto made = open ? Session::Create(os_, (*open)->descriptor.get(),
                                       {.top = HomeTop::kBelow, .levels = nodes_.DepthOf(next->id)})
                     : Failure(open.error());
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
  const auto open = top == nullptr ? tree_.OpenNode(node) : Result<DescriptorPtr>(top);
  if (!open || os_.FactsAt((*open)->descriptor.get(), "", &facts) < 0) {
    return;
  }
  const ZonePtr made = zones_.NewZone(at, facts, ZoneKind::kPart);
  MutexLock lock(made->mutex);
  if (session == nullptr) {
    zones_.Refuse(*made, refusal);
    return;
  }
  zones_.KeepZone(made, top);
  twins_.SetOwn(*made, session);
  made->session = std::move(session);
  made->is_adopted = true;
}

// Whether a rename from the session in `from` to the one in `to` is possible.
bool Borders::Reaches(Session& from, Session& to) {
  auto probe = from.MakeTemp();
  if (!probe) {
    return false;
  }
  const int error = RenameOverNothing(os_, from.folder(), probe->name, to.folder(), probe->name);
  (error == 0 ? to : from).Unlink(probe->name);
  return error == 0;
}

}  // namespace xzfs
