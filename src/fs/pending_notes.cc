#include "fs/pending_notes.h"

#include <utility>

#include "base/log.h"
#include "fs/committer.h"
#include "fs/done_intents.h"
#include "fs/file_state.h"
#include "fs/options.h"
#include "store/overlay.h"

namespace xzfs {

// A hint for the next mount, so the caller goes on if it fails.
bool PendingNotes::Note(const NodePtr& node) {
  if (options_.compress != Compress::kClose) {
    return false;
  }
  {
    MutexLock lock(mutex_);
    if (!noted_.insert(node->id).second) {
      return true;
    }
  }
  return Write(node);
}

// Writes the note of a file that is in `noted_`, with its present path.
bool PendingNotes::Write(const NodePtr& node) {
  const ZonePtr zone = tops_.ZoneOf(node->id);
  auto session = zones_.SessionFor(zone);
  const Status noted = session ? (*session)->pending().Note(zones_.PathInZone(node->id),
                                                            [&] { return Paths(*zone); })
                               : Failure(session.error());
  if (!noted) {
    Log(LogLevel::kDebug, "pending file not noted: " + noted.error().message);
    Forget(node->id);
  }
  return noted.has_value();
}

void PendingNotes::Forget(NodeId id) {
  MutexLock lock(mutex_);
  noted_.erase(id);
}

bool PendingNotes::IsNoted(NodeId id) {
  MutexLock lock(mutex_);
  return noted_.contains(id);
}

std::vector<std::string> PendingNotes::Paths(const Zone& zone) {
  std::vector<NodeId> ids;
  {
    MutexLock lock(mutex_);
    ids.assign(noted_.begin(), noted_.end());
  }
  std::vector<std::string> paths;
  for (const NodeId id : ids) {
    std::string path;
    const ZonePtr its = tops_.ZoneOf(id, &path);
    if (its == nullptr) {
      Forget(id);
    } else if (its.get() == &zone) {
      paths.push_back(std::move(path));
    }
  }
  return paths;
}

// Notes the present path of a file with pending changes, for the next mount.
void PendingNotes::NotePath(const NodePtr& node) {
  if (node == nullptr || node->state == nullptr) {
    return;
  }
  FileLock lock(*node->state);
  node->state->NoteNameChange();
  if (node->state->overlay() != nullptr) {
    // The last known location may be another path to the same file.
    const auto path = nodes_.PathBelow(node->id, node->state->edit().zone->top);
    if (const Status noted = path ? node->state->overlay()->NotePath(*path) : Status(); !noted) {
      Log(LogLevel::kDebug, noted.error().message);
    }
  } else if (IsNoted(node->id)) {
    Write(node);
  } else if (node->state->changed()) {
    Note(node);
  }
}

void PendingNotes::DropIfIdle() {
  done_intents_.Remove(1);
  for (const ZonePtr& zone : zones_.Zones()) {
    MutexLock lock(zone->mutex);
    if (zone->session != nullptr) {
      zone->session->pending().KeepIf([this] { return writers_ == 0 && committer_.is_idle(); },
                                      [&] { return Paths(*zone); });
    }
  }
}

}  // namespace xzfs
