// The result of each attempt to commit a file, and the end of all commits.
//
// The committer's threads call CommitNode. It makes a FileCommit, which takes the steps, and turns
// the result into figures, a line in the log and an entry in the report. When the mount ends,
// EndCommits or ParkCommits stops the committer, and sessions that hold nothing are removed.
#include "fs/commits.h"

#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "base/idle_priority.h"
#include "base/log.h"
#include "base/units.h"
#include "cache/loaded_index.h"
#include "cache/read_engine.h"
#include "fs/borders.h"
#include "fs/cold_files.h"
#include "fs/commit_requests.h"
#include "fs/done_intents.h"
#include "fs/edited_files.h"
#include "fs/file_commit.h"
#include "fs/file_state.h"
#include "fs/options.h"
#include "fs/syncs.h"
#include "fs/unfinished_commits.h"
#include "fs/writes.h"
#include "fs/zone_recovery.h"
#include "store/kept_times.h"

namespace xzfs {

Result<Committer::Outcome> Commits::CommitNode(NodeId id, CommitFor whom) {
  using Outcome = Committer::Outcome;
  Result<Outcome> outcome = Outcome::kLeft;
  bool has_given_up = false;
  bool has_begun = false;
  std::optional<Error> why_left;
  const ZonePtr zone = parts_.tree.tops().ZoneOf(id);
  for (int tries = 1; tries <= 2; ++tries) {
    FileCommit commit(parts_, id, whom);
    // After EXDEV a border between zones is looked for, and the second attempt goes beyond it.
    outcome = commit.Run(tries == 1 ? FinalErrors::kAllExceptExdev : FinalErrors::kAll);
    has_given_up = commit.has_given_up();
    has_begun = commit.has_begun();
    why_left = commit.why_left();
    if (outcome || outcome.error().code != EXDEV || tries == 2) {
      break;
    }
    parts_.borders.SplitZone(id, zone);
  }
  if (!outcome) {
    NoteCommitError(id, outcome.error(), has_given_up ? NextTry::kNever : NextTry::kLater);
  } else if (*outcome == Outcome::kCancelled) {
    parts_.engine.stats.commits_cancelled.Add();
  } else if (why_left) {
    parts_.report.Note(id, *why_left, NextTry::kNever);  // logged where it was found
  } else if (has_begun) {
    parts_.report.Clear(id);
  }
  return outcome;
}

void Commits::NoteCommitError(NodeId id, Error& error, NextTry next) {
  if (const std::string path = nodes_.PathOf(id); error.message.find(path) == std::string::npos) {
    error.message = path + ": " + error.message;
  }
  parts_.engine.stats.commits_failed.Add();
  const NodePtr node = nodes_.Find(id);
  const bool is_edited = node != nullptr && parts_.edited.Find(node->identity) == node;
  // Not if its changes went to lost+found, or if the next mount has to complete the commit.
  const bool is_left = node != nullptr && (is_edited || node->kind == StoredKind::kPlain) &&
                       !parts_.edited.IsHalfOverwritten(FileId::Of(node->identity));
  const char* const what_next =
      next == NextTry::kNever
          ? "; the file can be read, and stays uncompressed until it changes or "
            "its source is mounted again"
          : "; the file can be read, and xzfs tries again to compress it";
  const bool is_new = !is_left || parts_.report.Note(id, error, next);
  // An error that repeats is logged once.
  Log(is_new ? LogLevel::kError : LogLevel::kDebug,
      "commit: " + error.message + (is_left ? what_next : ""));
  if (is_edited) {
    (void)parts_.syncs.SyncNode(node, SyncScope::kAll);  // it may have to wait for another boot
  }
}

void Commits::SyncCommits(Committer::Done done) {
  parts_.report.RetryGivenUp();
  parts_.requests.QueueClosing();
  parts_.committer.Sync([this, done = std::move(done)](const Status& synced) {
    done(parts_.report.WithUncommitted(synced));
  });
}

Status Commits::SyncCommits() {
  parts_.report.RetryGivenUp();
  parts_.requests.QueueClosing();
  return parts_.report.WithUncommitted(parts_.committer.Sync());
}

void Commits::EndCommits(Committer::Ending ending) {
  const AwaitedWork awaited;
  parts_.cold.Stop();
  parts_.writes.EndHandles();
  parts_.recovery.EndSearches();
  parts_.requests.QueueClosing();
  parts_.committer.End(ending);
  parts_.syncs.SyncOverlays();
  parts_.done_intents.Remove(1);
  const size_t pending = parts_.committer.Pending().size();
  if (pending != 0) {
    Log(LogLevel::kInfo,
        "left to compress: " + Counted(pending, "file") + "; the next mount goes on with that");
  }
  const bool idle = parts_.options.compress == Compress::kClose && pending == 0;
  for (const ZonePtr& zone : parts_.zones.Zones()) {
    EndSessions(*zone, idle);
  }
}

// `idle`: nothing is pending.
void Commits::EndSessions(Zone& zone, bool idle) {
  MutexLock lock(zone.mutex);
  if (zone.directory == nullptr) {
    return;
  }
  const KeptTimes times(parts_.os, zone.top == kRootNode ? -1 : zone.directory->descriptor.get());
  if (zone.session != nullptr) {
    zone.session->pending().KeepIf([idle] { return idle; },
                                   [&] { return parts_.pending.Paths(zone); });
    zone.session->RemoveIfEmpty();
  }
  for (const auto& session : zone.adopted) {
    if (idle) {
      session->pending().Remove();
    }
    session->RemoveIfEmpty();
  }
}

void Commits::ParkCommits() {
  parts_.requests.Park();
  parts_.committer.Park();
  for (const NodeId id : parts_.committer.Pending()) {
    const NodePtr node = nodes_.Find(id);
    if (node != nullptr && node->state != nullptr) {
      FileLock lock(*node->state);
      if (const Status cancelled = parts_.unfinished.Cancel(node, *node->state); !cancelled) {
        Log(LogLevel::kWarning, cancelled.error().message);
      }
    }
  }
}

}  // namespace xzfs
