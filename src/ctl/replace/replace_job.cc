// The steps that FileJob names, around those of pack, unpack and reblock (TryMake to TryFinish).
// What went wrong in a step is reported once, by Settle. A file that another process is at work
// with (EBUSY, ESTALE, ENOENT) is skipped; any other error is a failure. False is silent, as the
// step has said why.
//
// The file is opened once, and must be what the walk found. From then on the descriptor counts, and
// what is done to a name is done, or stays done, only if the name is of that file.
//
// A job that ends early undoes what it did. The destructors of the derived classes take names back;
// this one removes the temp, and then the claims, which are not needed any more. Where something
// could not be undone or synced the claims are let go instead, and hold: the next run or mount
// settles them. The claims of a job that came to its end go to the BatchPublisher, which ends them
// after a sync.
#include "ctl/replace/replace_job.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

#include "base/identity.h"
#include "base/try.h"
#include "store/kept_times.h"
#include "store/plain_commit.h"

namespace xzfs {

ReplaceJob::~ReplaceJob() {
  progress_.AddDone(1, old_bytes() - std::min<uint64_t>(counted_bytes_, old_bytes()), 0);
  if (!temp_.name.empty()) {
    session_->Unlink(temp_.name);
  }
  for (HeldClaim& claim : claims_) {
    claim.Done();
  }
}

std::vector<OpenDirPtr> ReplaceJob::dirs() const {
  std::vector<OpenDirPtr> dirs;
  for (const FoundFile& name : names_) {
    dirs.push_back(name.dir);
  }
  return dirs;
}

bool ReplaceJob::Make() try {
  progress_.Begin(file_.path());
  return !progress_.cancelled() && Settle(TryMake());
} catch (const std::bad_alloc&) {
  return Settle(Fail(ENOMEM, "no memory for " + file_.path()));
}

bool ReplaceJob::ClaimNames() {
  const Status claimed = TryClaim();
  return Settle(claimed ? Result<bool>(true) : Failure(claimed.error()));
}

bool ReplaceJob::Publish() {
  for (HeldClaim& claim : claims_) {
    if (const Status synced = claim.Sync(); !synced) {
      return Settle(Failure(synced.error()));
    }
  }
  return Settle(TryPublish());
}

void ReplaceJob::Finish() {
  if (!Settle(TryFinish())) {
    return;
  }
  is_done_ = true;
  tally_.AddDone(file_.path(), result());
}

void ReplaceJob::Count(uint64_t old_bytes, uint64_t new_bytes) {
  counted_bytes_ += old_bytes;
  progress_.AddDone(0, old_bytes, new_bytes);
}

std::vector<HeldClaim> ReplaceJob::TakeClaims() {
  return is_done_ ? std::exchange(claims_, {}) : std::vector<HeldClaim>();
}

bool ReplaceJob::Settle(const Result<bool>& result) {
  if (!result) {
    const int code = result.error().code;
    if (code == EBUSY) {
      return Skip("open for writing");
    }
    if (code == ESTALE || code == ENOENT) {
      return Skip("changed during the run");
    }
    tally_.AddFailed(file_, result.error());
  }
  return result.value_or(false);
}

bool ReplaceJob::Skip(const std::string& reason) {
  for (const FoundFile& name : names_) {
    tally_.AddSkipped(name, reason);
  }
  return false;
}

bool ReplaceJob::SkipTaken(const std::string& form, const std::string& path) {
  for (const FoundFile& name : names_) {
    tally_.AddSkipped(name.path(), name.is_named, "the " + form + " file already exists",
                      path + " already exists");
  }
  return false;
}

Status ReplaceJob::OpenLocked() {
  XZFS_RETURN_IF_ERROR(Open());
  return LockPlain(os_, {.fd = fd(), .attributes = file_.attributes, .path = file_.path()});
}

Status ReplaceJob::Open() {
  descriptor_ = Descriptor(os_, os_.OpenBeneath(dir_fd(), file_.name, O_RDONLY | O_NONBLOCK));
  if (!descriptor_.valid()) {
    return FailErrno(-descriptor_.get(), "open " + file_.path());
  }
  struct stat st = {};
  if (const int error = os_.FStat(fd(), &st); error < 0) {
    return FailErrno(-error, "stat " + file_.path());
  }
  if (Identity::Of(st) != Identity::Of(file_.attributes)) {
    return Fail(ESTALE, file_.path() + " was changed");
  }
  return {};
}

Status ReplaceJob::TakeAttributes() {
  struct stat st = {};
  if (const int error = os_.FStat(fd(), &st); error < 0) {
    return FailErrno(-error, "stat " + file_.path());
  }
  if (!Identity::Of(st).HasContentOf(Identity::Of(file_.attributes))) {
    return Fail(ESTALE, file_.path() + " was changed");
  }
  file_.attributes = st;
  return {};
}

Status ReplaceJob::MakeTemp() {
  XZFS_ASSIGN_OR_RETURN(session_, places_.For(*file_.dir));
  XZFS_ASSIGN_OR_RETURN(temp_, session_->MakeTemp());
  return {};
}

Status ReplaceJob::GiveMetadata() {
  const struct timespec times[2] = {file_.attributes.st_atim, file_.attributes.st_mtim};
  return CopyMetadata(os_, fd(), file_.attributes, times, temp_.file.get(), file_.path());
}

Status ReplaceJob::CheckName(const FoundFile& name) {
  XZFS_ASSIGN_OR_RETURN(const bool current,
                        IsCurrent(os_, name.dir->fd(), name.name, Identity::Of(file_.attributes)));
  return current ? Status() : Fail(ESTALE, name.path() + " was changed");
}

Result<bool> ReplaceJob::CheckBase() {
  // In this order: if changes are not seen here because they were just committed, CheckName sees
  // them.
  XZFS_ASSIGN_OR_RETURN(const bool edited,
                        places_.IsBeingEdited(*file_.dir, file_.attributes.st_ino));
  for (const FoundFile& name : names_) {
    XZFS_RETURN_IF_ERROR(CheckName(name));
  }
  return edited ? Skip("edited in a mount") : true;
}

Status ReplaceJob::AddClaim(Claim::Kind kind, const FoundFile& name, const std::string& other,
                            int new_file) {
  XZFS_ASSIGN_OR_RETURN(Claim claim, ClaimOn(os_, kind, fd(), new_file));
  claim.dir = PathBelow(session_->top(), name.dir->fd());
  claim.name = name.name;
  claim.other = other;
  if (names_.size() > 1) {
    claim.old_ctime_ns = 0;  // it changes with each name that is removed
  }
  XZFS_ASSIGN_OR_RETURN(HeldClaim held, session_->claims().Add(std::move(claim)));
  claims_.push_back(std::move(held));
  return {};
}

Status ReplaceJob::PutAside(const FoundFile& name, HeldClaim& claim, TempFile* temp) {
  const KeptTimes times(os_, name.dir->fd());
  return xzfs::PutAside(os_, name.dir->fd(), *session_, claim, temp);
}

void ReplaceJob::SyncUndone() {
  for (const FoundFile& name : names_) {
    if (os_.Sync(name.dir->fd()) < 0) {
      KeepClaims();
    }
  }
}

}  // namespace xzfs
