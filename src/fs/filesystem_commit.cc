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
  return (cold_ == nullptr || cold_->IsCold(st)) && !StaysPlain(nodes_.FullPathOf(node->id), st);
}

// By the rules, for the plain file at the path `stored`.
bool Filesystem::StaysPlain(const std::string& stored, const struct stat& st) const {
  if (st.st_nlink > 1 || (st.st_mode & (S_ISUID | S_ISGID)) != 0 ||
      static_cast<uint64_t>(st.st_size) < options_.min_size_bytes) {
    return true;
  }
  const std::string path = StripEscape(stored).value_or(stored);
  const std::string file = path.substr(path.rfind('/') + 1);
  for (const std::string& glob : options_.excludes) {
    // A glob with a slash is meant for the path, one without for the name.
    const std::string& subject = glob.find('/') == std::string::npos ? file : path;
    const char* const pattern = glob.c_str() + (glob.starts_with('/') ? 1 : 0);
    if (fnmatch(pattern, subject.c_str(), FNM_PATHNAME) == 0) {
      return true;
    }
  }
  return false;
}

Result<Committer::Outcome> Filesystem::CommitNode(NodeId id, bool is_awaited) {
  auto outcome = FileCommit(*this, id, is_awaited).Run();
  if (!outcome) {
    std::string& message = outcome.error().message;
    if (const std::string path = nodes_.PathOf(id); message.find(path) == std::string::npos) {
      message = path + ": " + message;
    }
    engine_.stats.commits_failed.Add();
    const NodePtr node = nodes_.Find(id);
    const bool is_edited = node != nullptr && FindEdited(node->identity) == node;
    // Not if its changes went to lost+found, or the next mount has to complete it.
    const bool is_tried_again = node != nullptr &&
                                (is_edited || node->kind == StoredKind::kPlain) &&
                                !IsHalfOverwritten(FileId::Of(node->identity));
    Log(LogLevel::kError,
        "commit: " + message +
            (is_tried_again ? "; the file is readable as it is and the commit is tried again"
                            : ""));
    if (is_edited) {
      (void)SyncNode(node, /*only_data=*/false);  // it may have to wait for another boot
    }
  } else if (*outcome == Committer::Outcome::kCancelled) {
    engine_.stats.commits_cancelled.Add();
  }
  return outcome;
}

Status Filesystem::KeepLostOverlay(Session& session, Overlay& overlay, const std::string& path,
                                   const std::string& why) {
  XZFS_ASSIGN_OR_RETURN(const Descriptor lost,
                        Session::OpenLostAndFound(os_, root_->descriptor.get()));
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
  Log(LogLevel::kError,
      path + ": " + why + "; its pending changes are kept in .xzfs/lost+found/" + name + ".data");
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

void Filesystem::SyncCommits(Committer::Done done) {
  QueueClosing();
  committer_.Sync(std::move(done));
}

Status Filesystem::SyncCommits() {
  QueueClosing();
  return committer_.Sync();
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
  EndIdlePriority();
  if (cold_ != nullptr) {
    cold_->Stop();
  }
  EndHandles();
  QueueClosing();
  committer_.End(finish);
  SyncOverlays();
  RemoveDoneIntents(1);
  const size_t pending = committer_.Pending().size();
  if (pending != 0) {
    Log(LogLevel::kInfo, std::to_string(pending) +
                             " files are not compressed yet; the next mount goes on with them");
  }
  MutexLock lock(session_mutex_);
  const bool idle = options_.compress == Compress::kClose && pending == 0;
  if (session_ != nullptr) {
    session_->ClearPendingIf([idle] { return idle; });
    session_->RemoveIfEmpty();
  }
  for (const auto& session : adopted_) {
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
