#include "fs/file_commit.h"

#include <cerrno>
#include <utility>

#include "base/log.h"
#include "base/try.h"
#include "cache/loaded_index.h"
#include "fs/commit_requests.h"
#include "fs/edited_files.h"
#include "store/overlay.h"

namespace xzfs {
namespace {

// Errors that last until the user changes something: rights, names, mounts. Errors that pass by
// themselves are not among them: a full disk, a file in use, a server that is down.
bool IsFinal(const Error& error) {
  switch (error.code) {
    case EACCES:
    case EFBIG:
    case ENAMETOOLONG:
    case EOPNOTSUPP:
    case EPERM:
    case EROFS:
    case EXDEV:
      return true;
    default:
      return false;
  }
}

}  // namespace

Result<Committer::Outcome> FileCommit::Run(FinalErrors final_errors) {
  XZFS_RETURN_IF_ERROR(MendSync());
  if (!Begin()) {
    return parts_.requests.is_parking() ? Outcome::kCancelled : Outcome::kLeft;
  }
  Result<Outcome> outcome = TakeSteps();
  // A change of the file during the commit causes errors that are not reported.
  const bool done = outcome && *outcome == Outcome::kDone;
  if (work_.job->cancelled && !done) {
    return Outcome::kCancelled;
  }
  NoteAttempt(outcome, final_errors);
  return outcome;
}

Result<Committer::Outcome> FileCommit::TakeSteps() {
  return overlay_ == nullptr ? plain_.emplace(work_).Run() : edited_.emplace(work_, overlay_).Run();
}

// A hopeless commit is not tried again until the file changes.
void FileCommit::NoteAttempt(const Result<Outcome>& outcome, FinalErrors final_errors) {
  const bool is_tried_again =
      !outcome && outcome.error().code == EXDEV && final_errors == FinalErrors::kAllExceptExdev;
  const bool is_base_damaged = edited_ && edited_->is_base_damaged();
  if (outcome || is_tried_again || (!IsFinal(outcome.error()) && !is_base_damaged)) {
    return;
  }
  FileLock lock(*work_.state);
  if (!work_.job->cancelled) {
    work_.state->ForgetChange();
    has_given_up_ = true;
  }
}

// A sync failed, and all programs that had the file open then have closed it. The readable changes
// are written again, so that later changes rest on bytes that are on the disk. This function does
// it for an overlay, the commit for a plain file. (A file that stays plain is as it would be in the
// source.)
Status FileCommit::MendSync() {
  const NodePtr node = parts_.tree.nodes().Find(work_.id);
  if (node == nullptr || node->state == nullptr) {
    return {};
  }
  FileState& state = *node->state;
  std::shared_ptr<Overlay> overlay;
  {
    FileLock lock(state);
    const bool failed =
        state.sync_error() || (state.overlay() != nullptr && state.overlay()->has_sync_error());
    if (!failed || state.WritersFor(whom_) != 0 || state.unlinked()) {
      return {};
    }
    overlay = state.overlay();
  }
  if (overlay != nullptr) {
    XZFS_RETURN_IF_ERROR(overlay->Renew());
  }
  FileLock lock(state);
  if (state.WritersFor(whom_) == 0 && state.overlay() == overlay) {
    state.MendSync();
    state.NoteDurable(false);
  }
  return {};
}

// Takes the job, if there is something to commit.
bool FileCommit::Begin() {
  const NodePtr node = parts_.tree.nodes().Find(work_.id);
  if (node == nullptr || node->state == nullptr) {
    return false;
  }
  work_.state = node->state;
  // Not during a change of name or attributes. That has cancelled an earlier commit, and a new one
  // would use the node's old state.
  SharedLock names(parts_.tree.namespace_lock());
  FileLock lock(*work_.state);
  work_.node = parts_.tree.nodes().Find(work_.id);
  overlay_ = work_.state->overlay();
  const bool pending =
      work_.node->kind == StoredKind::kPlain ? work_.state->changed() : overlay_ != nullptr;
  if (!pending || work_.state->unlinked() || work_.state->is_changing()) {
    return false;
  }
  work_.why_left = WhyBroken();
  if (work_.why_left) {
    return false;
  }
  if (!parts_.requests.is_parking()) {
    work_.job = work_.state->TakeJob(whom_);
  }
  return work_.job != nullptr;
}

// Why the pending changes must not be committed.
std::optional<Error> FileCommit::WhyBroken() {
  const std::string path = work_.path();
  if (work_.state->sync_error()) {
    return *work_.state->sync_error();
  }
  if (overlay_ != nullptr && overlay_->has_sync_error()) {
    return Error{ErrorKind::kSystem, EIO, path + ": a sync of its pending changes failed"};
  }
  if (parts_.edited.IsHalfOverwritten(FileId::Of(work_.node->identity))) {
    return EditedFiles::FailHalfOverwritten(path).error();
  }
  return std::nullopt;
}

}  // namespace xzfs
