// One commit: from a hot file, or from a cold one and its overlay, to the compressed file that
// takes their place. docs/design.md has the steps and why each crash between them is harmless.
#include "fs/file_commit.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <linux/falloc.h>
#include <sys/stat.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

#include "base/idle_priority.h"
#include "base/log.h"
#include "fs/file_state.h"
#include "fs/plain_rules.h"
#include "store/intents.h"
#include "store/kept_times.h"
#include "store/names.h"
#include "store/plain_commit.h"
#include "store/records.h"
#include "store/replace_rights.h"
#include "store/xz_writer.h"
#include "xz/block_decoder.h"

namespace xzfs {
namespace {

// The Checks that can be written.
bool CanEncode(uint8_t check) { return check == 0 || check == 1 || check == 4 || check == 10; }

// What somebody must change before a commit can succeed: rights, names, where file systems are
// mounted. Whatever passes by itself (a full disk, a file that is in use, a server that is away) is
// none of it.
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

// The decoded bytes of a base. `is_damaged` becomes true when there are some that can't be had.
class DecodedBase : public RandomAccessFile {
 public:
  DecodedBase(ReadEngine& engine, XzReader::Source source, std::atomic<bool>& is_damaged)
      : reader_(engine, std::move(source)), is_damaged_(is_damaged) {}
  Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) const override {
    auto got = reader_.ReadAt(offset, out);
    if (!got && !got.error().of_the_source && got.error().code == EIO) {
      is_damaged_ = true;
    }
    return got;
  }
  uint64_t size() const override { return reader_.size(); }

 private:
  const XzReader reader_;
  std::atomic<bool>& is_damaged_;
};

// The decoded bytes of a cold file with its pending edits.
class EditedFile : public RandomAccessFile {
 public:
  EditedFile(const Overlay& overlay, std::unique_ptr<RandomAccessFile> base)
      : overlay_(overlay), base_(std::move(base)) {}
  Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) const override {
    const AtNormalPriority normal;  // readers may wait for the same Block
    return overlay_.ReadAt(*base_, offset, out);
  }
  uint64_t size() const override { return overlay_.size(); }

 private:
  const Overlay& overlay_;
  const std::unique_ptr<RandomAccessFile> base_;
};

}  // namespace

FileCommit::~FileCommit() {
  if (job_ != nullptr) {
    FileLock lock(*state_);
    if (state_->job() == job_) {
      const NodePtr node = parts_.tree.nodes().Find(id_);
      const Status removed =
          job_->twin.inode == 0 ? Status() : parts_.unfinished.RemoveTwin(node, job_->twin);
      if (!removed) {
        Log(LogLevel::kWarning, removed.error().message);
        claim_ = {};  // it stays hidden until somebody can
      }
      state_->DropJob();
    }
  }
  if (!temp_.name.empty()) {
    session_->Unlink(temp_.name);
  }
  EndClaim();
}

Result<Committer::Outcome> FileCommit::Run() {
  XZFS_RETURN_IF_ERROR(MendSync());
  if (!Begin()) {
    return parts_.requests.is_parking() ? Outcome::kCancelled : Outcome::kLeft;
  }
  Result<Outcome> outcome = Attempt();
  // Whoever changed it meanwhile is not to be told of errors that come of that.
  const bool done = outcome && *outcome == Outcome::kDone;
  if (job_->cancelled && !done) {
    return Outcome::kCancelled;
  }
  NoteAttempt(outcome);
  return outcome;
}

Result<Committer::Outcome> FileCommit::Attempt() {
  if (overlay_ != nullptr && parts_.options.compress == Compress::kOff) {
    XZFS_RETURN_IF_ERROR(parts_.syncs.SyncNode(node_, /*only_data=*/false));
    return Outcome::kLeft;
  }
  XZFS_ASSIGN_OR_RETURN(const bool has_place, FindPlace());
  if (!has_place) {
    return overlay_ == nullptr ? LeaveHot() : Result<Outcome>(Outcome::kLeft);
  }
  XZFS_ASSIGN_OR_RETURN(const bool eligible, OpenTruth());
  if (!eligible) {
    return LeaveHot();
  }
  XZFS_RETURN_IF_ERROR(Encode());
  if (parts_.cold.is_on() && overlay_ == nullptr) {
    XZFS_ASSIGN_OR_RETURN(const bool shrinks, Shrinks());
    if (!shrinks) {
      parts_.cold.NoteUnshrinkable(attributes_);
      return LeaveHot();
    }
  }
  return overlay_ == nullptr ? PublishHot() : PublishEdited();
}

// What is in vain is not tried again until the file changes.
void FileCommit::NoteAttempt(const Result<Outcome>& outcome) {
  const bool is_tried_again = !outcome && may_split_ && outcome.error().code == EXDEV;
  if (outcome || is_tried_again || (!IsFinal(outcome.error()) && !is_base_damaged_)) {
    return;
  }
  FileLock lock(*state_);
  if (!job_->cancelled) {
    state_->ForgetChange();
    has_given_up_ = true;
  }
}

// Where the compressed file is made. False if that can't be, and it was said.
Result<bool> FileCommit::FindPlace() {
  zone_ = parts_.tree.nodes().ZoneOf(id_);
  auto session = parts_.zones.SessionFor(zone_);
  if (session) {
    session_ = std::move(*session);
    return true;
  }
  if (zone_ != nullptr && parts_.zones.IsRefused(*zone_)) {
    return false;
  }
  return tl::unexpected(session.error());
}

// A sync failed, and all who had the file open then have closed it. What can be read of the changes
// is written again, so that what comes later rests on bytes that are on the disk: those of an
// overlay here, those of a plain file by its commit. (One that stays plain is as it would be in the
// source.)
Status FileCommit::MendSync() {
  const NodePtr node = parts_.tree.nodes().Find(id_);
  if (node == nullptr || node->state == nullptr) {
    return {};
  }
  FileState& state = *node->state;
  std::shared_ptr<Overlay> overlay;
  {
    FileLock lock(state);
    const bool failed =
        state.sync_error() || (state.overlay() != nullptr && state.overlay()->has_sync_error());
    if (!failed || state.WritersFor(is_awaited_) != 0 || state.unlinked()) {
      return {};
    }
    overlay = state.overlay();
  }
  if (overlay != nullptr) {
    XZFS_RETURN_IF_ERROR(overlay->Renew());
  }
  FileLock lock(state);
  if (state.WritersFor(is_awaited_) == 0 && state.overlay() == overlay) {
    state.MendSync();
    state.NoteDurable(false);
  }
  return {};
}

// Takes the job, if there is something to commit.
bool FileCommit::Begin() {
  const NodePtr node = parts_.tree.nodes().Find(id_);
  if (node == nullptr || node->state == nullptr) {
    return false;
  }
  state_ = node->state;
  // Not in the midst of a change of name or attributes, which has cancelled the commit that there
  // was already: this one would go on with what the node has been.
  SharedLock names(parts_.tree.namespace_lock());
  FileLock lock(*state_);
  node_ = parts_.tree.nodes().Find(id_);
  overlay_ = state_->overlay();
  const bool pending = node_->kind == StoredKind::kPlain ? state_->changed() : overlay_ != nullptr;
  if (!pending || state_->unlinked() || state_->is_changing()) {
    return false;
  }
  why_left_ = WhyBroken();
  if (why_left_) {
    return false;
  }
  if (!parts_.requests.is_parking()) {
    job_ = state_->TakeJob(is_awaited_);
  }
  return job_ != nullptr;
}

// Why nothing may be made of what is there.
std::optional<Error> FileCommit::WhyBroken() {
  const std::string path = parts_.tree.nodes().PathOf(id_);
  if (state_->sync_error()) {
    return *state_->sync_error();
  }
  if (overlay_ != nullptr && overlay_->has_sync_error()) {
    return Error{EIO, path + ": a sync of its pending changes failed"};
  }
  if (parts_.edited.IsHalfOverwritten(FileId::Of(node_->identity))) {
    return EditedFiles::FailHalfOverwritten(path).value();
  }
  return std::nullopt;
}

// It stays plain until it is changed again. What a commit that was cut off left beside it goes.
Result<Committer::Outcome> FileCommit::LeaveHot() {
  SharedLock names(parts_.tree.namespace_lock());
  FileLock lock(*state_);
  if (job_->cancelled) {
    return Outcome::kCancelled;
  }
  if (const int locked = std::exchange(job_->locked, -1); locked >= 0) {
    os().Unlock(locked);  // the twin is ours to remove
  }
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr parent, parts_.tree.OpenParent(node_, &name_));
  StoredEntry entry;
  entry.logical_name = StripEscape(name_).value_or(name_);
  entry.attributes = attributes_;
  XZFS_RETURN_IF_ERROR(parts_.unfinished.RemoveHidden(parent->descriptor.get(), entry));
  state_->ForgetChange();
  parts_.pending.Forget(id_);
  return Outcome::kLeft;
}

// Opens what is to be compressed and plans it. False if it stays as it is.
Result<bool> FileCommit::OpenTruth() {
  Result<bool> opened = TryOpenTruth();
  if (!opened && opened.error().code == ENOENT && overlay_ != nullptr) {
    // Of its several names the one that was known is gone.
    const Status found = parts_.recovery.FindNameOf(node_);
    if (!found && found.error().code == ENOENT && !job_->cancelled) {
      XZFS_RETURN_IF_ERROR(LoseOverlay("the stored file was removed by somebody else"));
    }
    XZFS_RETURN_IF_ERROR(found);
    opened = TryOpenTruth();
  }
  return opened;
}

Result<bool> FileCommit::TryOpenTruth() {
  SharedLock names(parts_.tree.namespace_lock());
  {
    FileLock lock(*state_);
    if (state_->unlinked() || job_->cancelled) {  // while we waited for the names
      job_->cancelled = true;
      return Fail(ECANCELED, parts_.tree.nodes().PathOf(id_) + " was removed");
    }
  }
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr parent, parts_.tree.OpenParent(node_, &name_));
  // Whatever is there now, and whoever has a lease on it: names are held meanwhile.
  const int fd = os().OpenBeneath(parent->descriptor.get(), name_, O_RDONLY | O_NONBLOCK);
  if (fd == -ENOENT && overlay_ == nullptr) {
    return false;  // somebody else took it away
  }
  if (fd == -EWOULDBLOCK) {
    return Fail(EBUSY, parts_.tree.nodes().PathOf(id_) + kOpenElsewhere);
  }
  if (fd < 0) {
    return FailErrno(-fd, "open " + parts_.tree.nodes().PathOf(id_));
  }
  truth_ = Descriptor(os(), fd);
  if (const int error = os().FStat(fd, &attributes_); error < 0) {
    return FailErrno(-error, "stat " + parts_.tree.nodes().PathOf(id_));
  }
  identity_ = Identity::Of(attributes_);
  request_.options = parts_.live.encode_options();
  request_.cancelled = &job_->cancelled;
  if (overlay_ != nullptr) {
    if (identity_ != node_->identity && NodeTree::HasContentOf(*node_, attributes_)) {
      // Somebody else has changed its mode, or linked it.
      XZFS_RETURN_IF_ERROR(parts_.tree.RefreshFrom(node_, attributes_, name_));
      XZFS_ASSIGN_OR_RETURN(node_, parts_.tree.FindNode(id_));
    }
    is_in_place_ = attributes_.st_nlink > 1 || !MayReplace(os(), parent->descriptor.get(), name_);
    if (is_in_place_) {
      XZFS_RETURN_IF_ERROR(MayChange(os(), parent->descriptor.get(), name_));
    }
    XZFS_RETURN_IF_ERROR(PlanEdited());
    return true;
  }
  return PlanHot(parent->descriptor.get());
}

// False if it stays as it is.
Result<bool> FileCommit::PlanHot(int dir) {
  if (!S_ISREG(attributes_.st_mode)) {
    return false;  // somebody else put something in its place
  }
  if (parts_.zones.IsMountPoint(*zone_, dir, name_)) {
    why_left_ = Error{EBUSY, parts_.tree.nodes().PathOf(id_) +
                                 " stays uncompressed: it is a mount point, which nothing can "
                                 "replace"};
    return false;
  }
  if (!NodeTree::IsNode(*node_, attributes_)) {
    return Fail(ESTALE, parts_.tree.nodes().PathOf(id_) + " was replaced");
  }
  if (parts_.options.compress == Compress::kOff || !MayCommit()) {
    ReportLongName();
    return false;
  }
  const std::string escaped = HotNameOf(StripEscape(name_).value_or(name_));
  struct stat other = {};
  if (escaped != name_ && os().StatAt(dir, escaped, &other) == 0) {
    why_left_ = Error{EEXIST, parts_.tree.nodes().PathOf(id_) + " stays uncompressed: '" + escaped +
                                  "' is in its way; remove or rename that"};
    return false;
  }
  // Before it is encoded for nothing.
  XZFS_RETURN_IF_ERROR(MayReplace(os(), dir, name_));
  if (const Status claimed = ClaimHot(); !claimed) {
    if (parts_.cold.is_on() && claimed.error().code == EBUSY) {
      return false;  // in use, so not cold; the search comes here again
    }
    return tl::unexpected(claimed.error());
  }
  plain_ = std::make_unique<StoredFile>(os(), truth_.get(), identity_.size_bytes);
  request_.plain = plain_.get();
  request_.plan = XzPlan(identity_.size_bytes, parts_.encoders.block_bytes());
  return true;
}

// By the options, and with compress=cold by its times.
bool FileCommit::MayCommit() const {
  return parts_.cold.MayCommit(attributes_) &&
         !WhyPlain(parts_.options, parts_.tree.nodes().FullPathOf(id_), attributes_);
}

void FileCommit::ReportLongName() {
  if (ColdNameOfPlain(name_).size() > NAME_MAX) {
    const std::string path = parts_.tree.nodes().PathOf(id_);
    parts_.lookups.collisions().Report(
        LogLevel::kWarning, "long " + path,
        path +
            " stays uncompressed: its name is too long to be stored with "
            ".xz behind it");
  }
}

// Of several mounts one commits a plain file: its twin is nobody else's as long as the file is
// locked. Who has it open for writing, in another mount or in the source, is found out before it is
// encoded for nothing.
Status FileCommit::ClaimHot() {
  const PlainFile plain = Plain();
  FileLock lock(*state_);
  XZFS_RETURN_IF_ERROR(LockPlain(os(), plain));
  if (job_->cancelled) {
    return Fail(ECANCELED, plain.path + " is being changed");
  }
  job_->locked = truth_.get();
  if (state_->plain().file != nullptr) {
    return {};  // by ourselves: the handle that is being closed
  }
  return CheckUnopened(os(), plain);
}

// Whether the compressed form is worth having: it's smaller, and doesn't take more of the disk (the
// plain one may have holes).
Result<bool> FileCommit::Shrinks() {
  struct stat made = {};
  if (const int error = os().FStat(temp_.file.get(), &made); error < 0) {
    return FailErrno(-error, "stat the compressed form of " + parts_.tree.nodes().PathOf(id_));
  }
  return made.st_size < attributes_.st_size && made.st_blocks <= attributes_.st_blocks;
}

Status FileCommit::PlanEdited() {
  FileFacts facts;
  if (const int error = os().FactsAt(truth_.get(), "", &facts); error < 0) {
    return FailErrno(-error, "stat " + parts_.tree.nodes().PathOf(id_));
  }
  if (!overlay_->base().key().Matches(StoredKey::Of(facts))) {
    return LoseOverlay("the stored file was replaced or changed by somebody else");
  }
  const XzReader::Source source = parts_.reads.SourceOf(node_);
  XZFS_ASSIGN_OR_RETURN(
      base_, parts_.engine.files.Get(source.identity, source.format, source.file_id, *source.stored,
                                     source.name));
  // Blocks can only be reused in a Stream with their Check.
  const std::vector<uint8_t> checks = base_->index().Checks();
  if (checks.size() == 1 && CanEncode(checks[0])) {
    request_.options.check = checks[0];
  }
  plain_ = std::make_unique<EditedFile>(
      *overlay_, std::make_unique<DecodedBase>(parts_.engine, source, is_base_damaged_));
  request_.plain = plain_.get();
  request_.base = truth_.get();
  request_.plan = XzPlan(
      overlay_->size(), parts_.encoders.block_bytes(), request_.options.check, base_->index(),
      [&](uint64_t begin, uint64_t end) { return overlay_->IsBase(begin, end); });
  return {};
}

// Makes the compressed file, complete, verified and synced, under a name of our own.
Status FileCommit::Encode() {
  XZFS_ASSIGN_OR_RETURN(temp_, session_->MakeTemp());
  XZFS_RETURN_IF_ERROR(ClaimOwner());
  const int out = temp_.file.get();
  const MemoryCharge charge = parts_.engine.cache.Reserve(
      BlockEncoder::MemoryBytes(request_.options, parts_.encoders.block_bytes()));
  XZFS_ASSIGN_OR_RETURN(written_, WriteXz(os(), parts_.encoders, request_, out));
  // The disk writes meanwhile.
  XZFS_RETURN_IF_ERROR(VerifyXz(os(), parts_.encoders, request_, written_, out));
  XZFS_RETURN_IF_ERROR(GiveMetadata());
  if (const int error = os().Sync(out, /*only_data=*/false); error < 0) {
    return FailErrno(-error, "sync the compressed form of " + parts_.tree.nodes().PathOf(id_));
  }
  return {};
}

// Whether the new file can be given its owner shows before it is encoded for nothing.
Status FileCommit::ClaimOwner() {
  struct stat made = {};
  int error = os().FStat(temp_.file.get(), &made);
  if (error == 0 && (made.st_uid != attributes_.st_uid || made.st_gid != attributes_.st_gid)) {
    error = os().FChangeOwner(temp_.file.get(), attributes_.st_uid, attributes_.st_gid);
  }
  return error < 0 ? FailErrno(-error, "give the compressed form of " +
                                           parts_.tree.nodes().PathOf(id_) + " its owner and group")
                   : Status();
}

Status FileCommit::GiveMetadata() {
  struct timespec times[2] = {attributes_.st_atim, attributes_.st_mtim};
  if (overlay_ != nullptr) {
    XZFS_ASSIGN_OR_RETURN(const struct stat edited, overlay_->Stat());
    times[0] = edited.st_atim;
    times[1] = edited.st_mtim;
  }
  return CopyMetadata(os(), truth_.get(), attributes_, times, temp_.file.get(),
                      parts_.tree.nodes().PathOf(id_));
}

// The plain file, for the steps that all who commit one take.
PlainFile FileCommit::Plain() const {
  return {.fd = truth_.get(), .attributes = attributes_, .path = parts_.tree.nodes().PathOf(id_)};
}

}  // namespace xzfs
