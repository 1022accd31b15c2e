// The commit of a plain file. The steps have the numbers of the table in docs/commit.md,
// "The commit of a plain file".
//
// For a moment both the plain file and the compressed one exist, as twins that a claim names. The
// plain file is removed last. A writer that comes before that cancels the commit and removes the
// twin (UnfinishedCommits); the commit checks that under the file's lock at each step.
#include "fs/commit_of_plain.h"

#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <climits>
#include <memory>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/stats.h"
#include "base/try.h"
#include "cache/read_engine.h"
#include "fs/cold_files.h"
#include "fs/listing.h"
#include "fs/lookups.h"
#include "fs/options.h"
#include "fs/unfinished_commits.h"
#include "store/names.h"
#include "store/replace_rights.h"
#include "xzfs/result.h"

namespace xzfs {
namespace {

// A read of a plain file takes longer only if its disk is in trouble.
constexpr std::chrono::seconds kMostReading{2};

std::string Quoted(const std::string& name) { return "'" + name + "'"; }

}  // namespace

CommitOfPlain::~CommitOfPlain() {
  if (work_.job != nullptr) {
    FileLock lock(*work_.state);
    if (work_.state->job() == work_.job) {
      const NodePtr node = parts_.tree.nodes().Find(work_.id);
      const Status removed = work_.job->twin.inode == 0
                                 ? Status()
                                 : parts_.unfinished.RemoveTwin(node, work_.job->twin);
      if (!removed) {
        Log(LogLevel::kWarning, removed.error().message);
        work_.claim = {};  // the claim stays: it hides the twin until a later mount removes it
      }
      work_.state->DropJob();
    }
  }
  // So a removed twin doesn't come back after a power cut.
  if (twin_ && work_.claim.held() && work_.os().Sync(dir_->descriptor.get()) < 0) {
    work_.claim = {};
  }
}

Result<Committer::Outcome> CommitOfPlain::Run() {
  XZFS_ASSIGN_OR_RETURN(const bool has_place, work_.FindPlace());
  if (!has_place) {
    return Leave(Why::kRule);
  }
  // Step 1.
  XZFS_ASSIGN_OR_RETURN(const bool is_open, OpenPlain());
  if (!is_open) {
    return Leave(why_);
  }
  XZFS_ASSIGN_OR_RETURN(const bool looks_worth_it, LooksWorthIt());
  if (!looks_worth_it) {
    return LeaveUnshrinkable();
  }
  // Step 2.
  XZFS_RETURN_IF_ERROR(work_.Encode());
  if (MustShrink() && !saving_.IsWorthIt(use_, work_.written.stored_bytes)) {
    return LeaveUnshrinkable();
  }
  // Steps 3 and 4.
  XZFS_RETURN_IF_ERROR(work_.Complete(nullptr));
  // Step 5.
  AwaitReads();
  XZFS_RETURN_IF_ERROR(work_.ClaimPlace(Claim::Kind::kTwin));
  // Step 6.
  XZFS_ASSIGN_OR_RETURN(const bool is_published, PublishTwin());
  if (!is_published) {
    return LeaveUnpublished();
  }
  // Steps 7 and 8.
  XZFS_ASSIGN_OR_RETURN(const Outcome outcome, RemovePlain());
  if (outcome != Outcome::kDone) {
    return outcome;
  }
  work_.Count();
  parts_.rules.unshrinkable().Forget(FileId::Of(work_.identity));
  if (parts_.cold.is_on()) {
    Stats& stats = parts_.engine.stats;
    stats.cold_files.Add();
    stats.cold_plain_bytes.Add(work_.identity.size_bytes);
    stats.cold_stored_bytes.Add(work_.written.stored_bytes);
  }
  // Step 9. Without it a power cut could bring the plain file back, as far as it is on the disk.
  // Until then a sync of the file syncs the directory itself.
  if (work_.os().Sync(dir_->descriptor.get()) < 0) {
    Log(LogLevel::kError, "sync of the directory of " + work_.path() + " failed");
    work_.claim = {};
    return outcome;
  }
  // Step 10.
  work_.claim.Done();
  FileLock lock(*work_.state);
  work_.state->NoteNameUnsynced(false);
  return outcome;
}

// What was tried in vain is noted, so that it is not tried again before the file has changed.
Result<Committer::Outcome> CommitOfPlain::LeaveUnshrinkable() {
  parts_.engine.stats.commits_in_vain.Add();
  return Leave(Why::kWouldNotShrink);
}

// The file stays plain until it is changed again. Removes what an interrupted commit left beside
// it.
Result<Committer::Outcome> CommitOfPlain::Leave(Why why) {
  SharedLock names(parts_.tree.namespace_lock());
  FileLock lock(*work_.state);
  if (work_.job->cancelled) {
    return Outcome::kCancelled;
  }
  if (const int locked = std::exchange(work_.job->locked, -1); locked >= 0) {
    work_.os().Unlock(locked);  // the twin is ours to remove
  }
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr parent,
                        parts_.tree.OpenParent(work_.node, &work_.name));
  StoredEntry entry;
  entry.logical_name = StripEscape(work_.name).value_or(work_.name);
  entry.attributes = work_.attributes;
  XZFS_RETURN_IF_ERROR(parts_.unfinished.RemoveHidden(parent->descriptor.get(), entry));
  UnshrinkableFiles& unshrinkable = parts_.rules.unshrinkable();
  if (why == Why::kWouldNotShrink && !unshrinkable.Has(work_.identity)) {
    unshrinkable.Add(work_.identity);
  }
  work_.state->ForgetChange();
  parts_.pending.Forget(work_.id);
  return Outcome::kLeft;
}

// Step 1. False if the file stays as it is.
Result<bool> CommitOfPlain::OpenPlain() {
  SharedLock names(parts_.tree.namespace_lock());
  const auto dir = work_.OpenStored();
  if (!dir && dir.error().code == ENOENT) {
    return false;  // another program removed it
  }
  XZFS_RETURN_IF_ERROR(dir);
  XZFS_ASSIGN_OR_RETURN(const bool is_eligible, IsToBeCommitted((*dir)->descriptor.get()));
  if (!is_eligible) {
    return false;
  }
  // Checked here, so that it isn't encoded needlessly.
  XZFS_RETURN_IF_ERROR(MayReplace(work_.os(), (*dir)->descriptor.get(), work_.name));
  if (const Status locked = LockPlain(); !locked) {
    if (parts_.cold.is_on() && locked.error().code == EBUSY) {
      return false;  // in use, so not cold; the search comes back later
    }
    return Failure(locked.error());
  }
  const uint64_t size = work_.identity.size_bytes;
  work_.plain = std::make_unique<StoredFile>(work_.os(), work_.stored.get(), size);
  work_.request.plain = work_.plain.get();
  work_.request.plan = XzPlan(size, parts_.encoders.block_bytes());
  return true;
}

// Whether the opened file is still the node's, and no rule keeps it plain.
Result<bool> CommitOfPlain::IsToBeCommitted(int dir) {
  const struct stat& st = work_.attributes;
  if (!S_ISREG(st.st_mode)) {
    return false;  // another program replaced it
  }
  if (parts_.zones.IsMountPoint(*work_.zone, dir, work_.name)) {
    work_.why_left = Error{ErrorKind::kSystem, EBUSY,
                           work_.path() +
                               " stays uncompressed: it is a mount point, which nothing can "
                               "replace"};
    return false;
  }
  if (!NodeTree::IsNode(*work_.node, st)) {
    return Fail(ESTALE, work_.path() + " was replaced");
  }
  const std::string path = parts_.tree.nodes().FullPathOf(work_.id);
  if (parts_.options.compress == Compress::kOff || !parts_.cold.MayCommit(st) ||
      parts_.rules.WhyKept(path, st)) {
    ReportLongName();
    return false;
  }
  NoteWritten();
  if (parts_.rules.WouldNotShrink(path, st)) {
    why_ = Why::kWouldNotShrink;
    return false;
  }
  const std::string escaped = PlainNameOf(StripEscape(work_.name).value_or(work_.name));
  struct stat other = {};
  if (escaped != work_.name && work_.os().StatAt(dir, escaped, &other) == 0) {
    work_.why_left = Error{ErrorKind::kSystem, EEXIST,
                           work_.path() + " stays uncompressed: '" + escaped +
                               "' already exists; remove or rename that"};
    return false;
  }
  return true;
}

// With sync_close the handles that wrote are not released yet.
void CommitOfPlain::NoteWritten() {
  uint64_t written = 0;
  {
    FileLock lock(*work_.state);
    written = work_.state->TakeWritten();
  }
  if (written != 0) {
    parts_.rules.unshrinkable().NoteWritten(work_.identity, written);
  }
}

// Only one of several mounts commits a plain file: while the file is locked its twin is ours. The
// lease shows a program that has the file open for writing, in another mount or in the source,
// before the file is encoded needlessly.
Status CommitOfPlain::LockPlain() {
  const PlainFile plain = Plain();
  FileLock lock(*work_.state);
  XZFS_RETURN_IF_ERROR(xzfs::LockPlain(work_.os(), plain));
  if (work_.job->cancelled) {
    return Fail(ECANCELED, plain.path + " is being changed");
  }
  work_.job->locked = work_.stored.get();
  if (work_.state->plain().file != nullptr) {
    return {};  // we have it open: the handle that is being closed
  }
  return CheckUnopened(work_.os(), plain);
}

void CommitOfPlain::ReportLongName() {
  if (CompressedNameOfPlain(work_.name).size() > NAME_MAX) {
    const std::string path = work_.path();
    parts_.lookups.collisions().Report(LogLevel::kWarning, "long " + path,
                                       path +
                                           " stays uncompressed: its name is too long to be stored "
                                           "with .xz behind it");
  }
}

// Whether the file stays plain if that saves too little.
bool CommitOfPlain::MustShrink() const { return SavingRule::IsFor(work_.name); }

// The first look at a large file: encodes a few parts of it.
Result<bool> CommitOfPlain::LooksWorthIt() {
  use_ = DiskUse::Of(work_.os(), work_.stored.get(), work_.attributes);
  if (!MustShrink()) {
    return true;
  }
  const MemoryCharge charge = work_.ReserveEncoder(kSampleBytes);
  return xzfs::LooksWorthIt(saving_, use_, *work_.plain, parts_.encoders, work_.request.options,
                            &work_.job->cancelled);
}

// With sync_close the handle that is being closed is still open, and running reads use its
// descriptor. A file that is open for writing can't be leased, even if it is open only here. A
// later write opens it again; later reads don't need it.
void CommitOfPlain::AwaitReads() {
  std::weak_ptr<SharedDescriptor> file;
  {
    FileLock lock(*work_.state);
    if (work_.job->cancelled) {
      return;
    }
    file = work_.state->ClosePlain();
  }
  const auto enough = std::chrono::steady_clock::now() + kMostReading;
  while (!file.expired() && std::chrono::steady_clock::now() < enough) {
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
}

// Step 6: gives the compressed file its name beside the plain one. False if it must not get it.
Result<bool> CommitOfPlain::PublishTwin() {
  ExclusiveLock names(parts_.tree.namespace_lock());
  FileLock lock(*work_.state);
  std::string name;
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr parent, parts_.tree.OpenParent(work_.node, &name));
  if (work_.job->cancelled) {
    return Fail(ESTALE, Quoted(name) + " was changed while it was compressed");
  }
  if (work_.claim.claim().name != name) {
    return Fail(ESTALE, Quoted(name) + " was renamed while it was compressed");
  }
  const int dir = parent->descriptor.get();
  const KeptDirectory kept(work_, parts_.tree.nodes().LocationOf(work_.id).parent, dir);
  const PlainFile plain = Plain();
  XZFS_ASSIGN_OR_RETURN(twin_, xzfs::PublishTwin(work_.os(), parts_.tree.twins(), plain, dir, name,
                                                 *work_.session, work_.temp));
  if (!twin_) {
    work_.why_left =
        Error{ErrorKind::kSystem, EEXIST,
              plain.path + " stays uncompressed: " + Quoted(CompressedNameOfPlain(name)) +
                  " already exists; remove or rename that"};
    if (parts_.lookups.collisions().Report(LogLevel::kWarning, "commit " + plain.path,
                                           work_.why_left->message)) {
      parts_.engine.stats.collisions.Add();
    }
    return false;
  }
  work_.job->leased = twin_->leased ? work_.stored.get() : -1;
  work_.job->twin = twin_->key;
  dir_ = parent;
  return true;
}

Result<Committer::Outcome> CommitOfPlain::LeaveUnpublished() {
  FileLock lock(*work_.state);
  if (work_.job->cancelled) {
    return Outcome::kCancelled;  // a writer has come and will change the file
  }
  work_.state->ForgetChange();
  parts_.pending.Forget(work_.id);
  return Outcome::kLeft;
}

// Steps 7 and 8.
Result<Committer::Outcome> CommitOfPlain::RemovePlain() {
  // The new name must be on the disk before the old one is removed.
  std::string name;
  XZFS_ASSIGN_OR_RETURN(dir_, parts_.tree.OpenParent(work_.node, &name));
  const int dir = dir_->descriptor.get();
  if (const int error = work_.os().Sync(dir); error < 0) {
    return FailErrno(-error, "sync the directory of " + work_.path());
  }
  ExclusiveLock names(parts_.tree.namespace_lock());
  FileLock lock(*work_.state);
  if (work_.job->cancelled) {
    return Outcome::kCancelled;
  }
  const NodeId dir_id = parts_.tree.nodes().LocationOf(work_.id).parent;
  parts_.listings.NoteMove(dir_id, StripEscape(name).value_or(name));
  const KeptDirectory kept(work_, dir_id, dir);
  XZFS_RETURN_IF_ERROR(xzfs::RemovePlain(work_.os(), Plain(), dir, name, *twin_));
  work_.job->twin = {};
  XZFS_RETURN_IF_ERROR(
      work_.BecomeCompressed(nullptr, work_.temp.file.get(), CompressedNameOfPlain(name)));
  work_.state->NoteNameUnsynced(true);
  return Outcome::kDone;
}

// The plain file, for the steps that xzfsctl pack takes, too.
PlainFile CommitOfPlain::Plain() const {
  return {.fd = work_.stored.get(), .attributes = work_.attributes, .path = work_.path()};
}

}  // namespace xzfs
