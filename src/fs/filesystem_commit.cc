// When files are committed, and what becomes of it at the end.
#include <fcntl.h>
#include <fnmatch.h>
#include <linux/falloc.h>
#include <linux/limits.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/idle_priority.h"
#include "base/log.h"
#include "fs/file_commit.h"
#include "fs/filesystem.h"
#include "store/intents.h"
#include "store/kept_times.h"
#include "store/names.h"
#include "store/records.h"
#include "store/xz_writer.h"
#include "xz/block_decoder.h"

namespace xzfs {
namespace {

// The path of the file that is stored at `stored`. Names have a length that paths may exceed.
std::string AsShown(const std::string& stored, bool is_compressed) {
  const size_t begin = stored.rfind('/') + 1;
  const std::string name = stored.substr(begin);
  const auto stripped = is_compressed ? StripSuffix(name) : std::nullopt;
  return stored.substr(0, begin) +
         (stripped ? stripped->logical : StripEscape(name).value_or(name));
}

}  // namespace

// Queues a file whose last writer is gone.
void Filesystem::QueueCommit(const NodePtr& node, bool is_awaited) {
  if (options_.compress != Compress::kClose) {
    MutexLock lock(node->state->mutex);
    if (node->state->overlay == nullptr) {
      return;
    }
  }
  committer_.Add(node->id, PlainSize(node), is_awaited);
}

// 0 if it can't be told.
uint64_t Filesystem::PlainSize(const NodePtr& node) {
  const Result<struct stat> st = GetAttributes(node->id);
  return st ? static_cast<uint64_t>(st->st_size) : 0;
}

bool Filesystem::MayCommit(const NodePtr& node, const struct stat& st) {
  return (cold_ == nullptr || cold_->IsCold(st)) && !WhyPlain(nodes_.FullPathOf(node->id), st);
}

// The rule by which the plain file at the path `stored` isn't compressed, or nothing.
std::optional<std::string> Filesystem::WhyPlain(const std::string& stored,
                                                const struct stat& st) const {
  if (st.st_nlink > 1) {
    return "it has several names";
  }
  if ((st.st_mode & (S_ISUID | S_ISGID)) != 0) {
    return "it has a set-id bit";
  }
  if (static_cast<uint64_t>(st.st_size) < options_.min_size_bytes) {
    return "it is smaller than min_size";
  }
  const std::string path = AsShown(stored, /*is_compressed=*/false);
  const std::string file = path.substr(path.rfind('/') + 1);
  if (ColdNameOf(file, Format::kXz).size() > NAME_MAX) {
    return "its name is too long to be stored with .xz behind it";
  }
  for (const std::string& glob : options_.excludes) {
    // A glob with a slash is meant for the path, one without for the name.
    const std::string& subject = glob.find('/') == std::string::npos ? file : path;
    const char* const pattern = glob.c_str() + (glob.starts_with('/') ? 1 : 0);
    if (fnmatch(pattern, subject.c_str(), FNM_PATHNAME) == 0) {
      return "exclude=" + glob;
    }
  }
  return std::nullopt;
}

Result<Committer::Outcome> Filesystem::CommitNode(NodeId id, bool is_awaited) {
  using Outcome = Committer::Outcome;
  Result<Outcome> outcome = Outcome::kLeft;
  bool has_given_up = false;
  bool has_begun = false;
  std::optional<Error> why_left;
  const ZonePtr zone = nodes_.ZoneOf(id);
  for (int tries = 1; tries <= 2; ++tries) {
    FileCommit commit(*this, id, is_awaited, /*may_split=*/tries == 1);
    outcome = commit.Run();
    has_given_up = commit.has_given_up();
    has_begun = commit.has_begun();
    why_left = commit.why_left();
    if (outcome || outcome.error().code != EXDEV || tries == 2) {
      break;
    }
    SplitZone(id, zone);
  }
  if (!outcome) {
    NoteCommitError(id, outcome.error(), has_given_up);
  } else if (*outcome == Outcome::kCancelled) {
    engine_.stats.commits_cancelled.Add();
  } else if (why_left) {
    NoteFailure(id, *why_left, /*is_given_up=*/true);  // logged where it was found
  } else if (has_begun) {
    ClearFailure(id);
  }
  return outcome;
}

void Filesystem::NoteCommitError(NodeId id, Error& error, bool is_given_up) {
  if (const std::string path = nodes_.PathOf(id); error.message.find(path) == std::string::npos) {
    error.message = path + ": " + error.message;
  }
  engine_.stats.commits_failed.Add();
  const NodePtr node = nodes_.Find(id);
  const bool is_edited = node != nullptr && FindEdited(node->identity) == node;
  // Not if its changes went to lost+found, or the next mount has to complete it.
  const bool is_left = node != nullptr && (is_edited || node->kind == StoredKind::kPlain) &&
                       !IsHalfOverwritten(FileId::Of(node->identity));
  const char* const what_next =
      is_given_up ? "; the file is readable as it is, and stays uncompressed until it is changed "
                    "or mounted again"
                  : "; the file is readable as it is and the commit is tried again";
  const bool is_new = !is_left || NoteFailure(id, error, is_given_up);
  // An error that comes again and again is one line.
  Log(is_new ? LogLevel::kError : LogLevel::kDebug,
      "commit: " + error.message + (is_left ? what_next : ""));
  if (is_edited) {
    (void)SyncNode(node, /*only_data=*/false);  // it may have to wait for another boot
  }
}

// Returns whether that was not known of the file.
bool Filesystem::NoteFailure(NodeId id, const Error& error, bool is_given_up) {
  // Its path is to be told as long as it's given up, though nobody else may know it.
  const bool is_pinned = is_given_up && nodes_.Pin(id);
  const auto before = failures_.Note({id, error.code, error.message, is_given_up});
  if (is_pinned && before && before->is_given_up) {
    Forget(id, 1);
  }
  return !before || before->message != error.message;
}

void Filesystem::ClearFailure(NodeId id) {
  if (const auto failure = failures_.Clear(id); failure && failure->is_given_up) {
    Forget(id, 1);
  }
}

std::vector<Uncommitted> Filesystem::uncommitted(size_t most) {
  std::vector<Uncommitted> files;
  for (CommitFailures::Failure& failure : failures_.First(most)) {
    if (const auto st = GetAttributes(failure.node); !st && st.error().code == ESTALE) {
      ClearFailure(failure.node);  // somebody else took it away
      ForgetNote(failure.node);
      continue;
    }
    const NodePtr node = nodes_.Find(failure.node);
    std::string path = AsShown(nodes_.FullPathOf(failure.node),
                               node != nullptr && node->kind == StoredKind::kCompressed);
    files.push_back({std::move(path), std::move(failure.message), failure.is_given_up});
  }
  return files;
}

Status Filesystem::KeepLostOverlay(Session& session, Overlay& overlay, const std::string& path,
                                   const std::string& why) {
  XZFS_ASSIGN_OR_RETURN(const Descriptor lost, Session::OpenLostAndFound(os_, session.top()));
  const std::string name = session.name() + "-" + overlay.id();
  const std::string note = "Pending changes of " + path + " that could not be applied: " + why +
                           ".\n" + name +
                           ".data has the changed bytes at their offsets in the plain file.\n";
  // The note first: without it nobody could tell what the rest is.
  const int fd = os_.OpenBeneath(lost.get(), name + ".note", O_RDWR | O_CREAT, 0600);
  if (fd < 0) {
    return FailErrno(-fd, "make a note in .xzfs/lost+found");
  }
  const Descriptor file(os_, fd);
  XZFS_RETURN_IF_ERROR(WriteFully(os_, fd, BytesOf(note), 0));
  os_.Sync(fd, false);
  XZFS_ASSIGN_OR_RETURN(const Overlay::Moved moved, overlay.MoveTo(lost.get(), name));
  engine_.stats.overlays_lost.Add();
  if (moved == Overlay::Moved::kNothing) {
    const std::string lost_note = "Pending changes of " + path + " are lost: " + why +
                                  ", and the file in .xzfs that held them is not there any more.\n";
    os_.Truncate(fd, 0);
    (void)WriteFully(os_, fd, BytesOf(lost_note), 0);
    Log(LogLevel::kError, path + ": " + why +
                              "; its pending changes are lost: somebody has removed them from "
                              ".xzfs");
    return {};
  }
  os_.Sync(lost.get(), false);
  Log(LogLevel::kError, path + ": " + why + "; its pending changes are kept in " + HomeOf(session) +
                            "/lost+found/" + name + ".data");
  return {};
}

// Remembers files of which every handle that may write is closing.
void Filesystem::NoteClosing(NodeId id, const FileState& state) {
  const bool is_closing = state.writers != 0 && state.closing == state.writers && state.changed;
  MutexLock lock(closing_mutex_);
  if (is_closing) {
    closing_.insert(id);
  } else {
    closing_.erase(id);
  }
}

// For who waits for all commits: they are as good as closed.
void Filesystem::QueueClosing() {
  std::vector<NodeId> ids;
  {
    MutexLock lock(closing_mutex_);
    ids.assign(closing_.begin(), closing_.end());
  }
  for (const NodeId id : ids) {
    if (const NodePtr node = nodes_.Find(id)) {
      QueueCommit(node, /*is_awaited=*/true);
    }
  }
}

// Somebody asks for it: what stood in the way of files that were given up may be gone.
void Filesystem::RetryGivenUp() {
  for (const CommitFailures::Failure& failure : failures_.First(failures_.count())) {
    const NodePtr node = failure.is_given_up ? nodes_.Find(failure.node) : nullptr;
    if (node == nullptr || node->state == nullptr) {
      continue;
    }
    {
      MutexLock lock(node->state->mutex);
      if (node->state->unlinked || node->state->job != nullptr) {
        continue;
      }
      node->state->changed = true;
    }
    QueueCommit(node, /*is_awaited=*/true);
  }
}

// What is left counts, too: who waits is not to be told that all is well.
Status Filesystem::WithUncommitted(const Status& synced) {
  const auto all = uncommitted(failures_.count());
  if (all.empty()) {
    return synced;
  }
  return Fail(synced ? EIO : synced.error().code,
              (all.size() == 1 ? "1 file is not compressed: "
                               : std::to_string(all.size()) + " files are not compressed, as ") +
                  all[0].reason);
}

void Filesystem::SyncCommits(Committer::Done done) {
  RetryGivenUp();
  QueueClosing();
  committer_.Sync(
      [this, done = std::move(done)](const Status& synced) { done(WithUncommitted(synced)); });
}

Status Filesystem::SyncCommits() {
  RetryGivenUp();
  QueueClosing();
  return WithUncommitted(committer_.Sync());
}

// Once nobody asks any more all handles are as good as closed, and what was removed has no user.
// The kernel may never tell: when a mount ends it drops what it had to say of handles (RELEASE) and
// of files that it forgets (FORGET).
void Filesystem::EndHandles() {
  for (const NodeId id : nodes_.FileIds()) {
    const NodePtr node = nodes_.Find(id);
    if (node == nullptr || node->state == nullptr) {
      continue;
    }
    FileState& state = *node->state;
    MutexLock lock(state.mutex);
    if (state.unlinked) {
      DropOverlay(id, state);
    } else if (state.writers != 0) {
      state.closing = state.writers;
      NoteClosing(id, state);
    }
  }
}

void Filesystem::EndCommits(bool finish) {
  const AwaitedWork awaited;
  if (cold_ != nullptr) {
    cold_->Stop();
  }
  EndHandles();
  EndSearches();
  QueueClosing();
  committer_.End(finish);
  SyncOverlays();
  done_intents_.Remove(1);
  const size_t pending = committer_.Pending().size();
  if (pending != 0) {
    Log(LogLevel::kInfo, std::to_string(pending) +
                             " files are not compressed yet; the next mount goes on with them");
  }
  const bool idle = options_.compress == Compress::kClose && pending == 0;
  for (const ZonePtr& zone : Zones()) {
    EndSessions(*zone, idle);
  }
}

// `idle`: nothing is pending.
void Filesystem::EndSessions(Zone& zone, bool idle) {
  MutexLock lock(zone.mutex);
  if (zone.directory == nullptr) {
    return;
  }
  const KeptTimes times(os_, zone.top == kRootNode ? -1 : zone.directory->descriptor.get());
  if (zone.session != nullptr) {
    zone.session->KeepPendingIf([idle] { return idle; }, [&] { return NotedPaths(zone); });
    zone.session->RemoveIfEmpty();
  }
  for (const auto& session : zone.adopted) {
    if (idle) {
      session->ForgetPending();
    }
    session->RemoveIfEmpty();
  }
}

void Filesystem::ParkCommits() {
  is_parking_ = true;
  committer_.Park();
  for (const NodeId id : committer_.Pending()) {
    const NodePtr node = nodes_.Find(id);
    if (node != nullptr && node->state != nullptr) {
      MutexLock lock(node->state->mutex);
      if (const Status cancelled = CancelCommit(node, *node->state); !cancelled) {
        Log(LogLevel::kWarning, cancelled.error().message);
      }
    }
  }
}

}  // namespace xzfs
