// One commit: from a hot file, or from a cold one and its overlay, to the compressed file that
// takes their place. docs/design.md has the steps and why each crash between them is harmless.
#include <fcntl.h>
#include <fnmatch.h>
#include <linux/falloc.h>
#include <linux/limits.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/log.h"
#include "fs/filesystem.h"
#include "store/intents.h"
#include "store/kept_times.h"
#include "store/names.h"
#include "store/records.h"
#include "store/xz_writer.h"
#include "xz/block_decoder.h"

namespace xzfs {
namespace {

constexpr const char* kOpenElsewhere = " is open for writing in another mount or in the source";

std::string Quoted(const std::string& name) { return "'" + name + "'"; }

// The Checks that can be written.
bool CanEncode(uint8_t check) { return check == 0 || check == 1 || check == 4 || check == 10; }

// Attributes that only the kernel may set need rights that we may lack; what they say of the old
// file need not hold for the new one.
bool IsForeignXattr(const std::string& key) {
  return key.starts_with("security.") || key.starts_with("trusted.");
}

Status CopyXattrs(Os& os, int from, int to) {
  std::string names(XATTR_LIST_MAX, '\0');
  const ssize_t length = os.FListXattr(from, names);
  if (length == -EOPNOTSUPP || length == 0) {
    return {};
  }
  if (length < 0) {
    return FailErrno(static_cast<int>(-length), "list the attributes");
  }
  std::string value(XATTR_SIZE_MAX, '\0');
  for (size_t at = 0; at < static_cast<size_t>(length);) {
    const std::string key(names.c_str() + at);
    at += key.size() + 1;
    const ssize_t bytes = os.FGetXattr(from, key, value);
    int error = bytes < 0 ? static_cast<int>(bytes) : 0;
    if (error == 0) {
      error = os.FSetXattr(to, key, std::span(value.data(), static_cast<size_t>(bytes)), 0);
    }
    if (error < 0 && !IsForeignXattr(key)) {
      return FailErrno(-error, "copy the attribute " + key);
    }
  }
  return {};
}

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

// One attempt. Made, run and dropped by one thread.
class FileCommit {
 public:
  FileCommit(Filesystem& fs, NodeId id, bool is_awaited)
      : fs_(fs), id_(id), is_awaited_(is_awaited) {}
  ~FileCommit();

  Result<Committer::Outcome> Run();

 private:
  using Outcome = Committer::Outcome;

  bool Begin();
  Result<Outcome> LeaveHot();
  Result<bool> OpenTruth();
  Result<bool> TryOpenTruth();
  Status ClaimHot();
  Status PlanEdited();
  Status Encode();
  Status CopyMetadata();
  Result<Outcome> PublishHot();
  Result<Outcome> ReplacePlain();
  Result<Outcome> PublishEdited();
  Result<bool> PublishTwin();
  Result<bool> IsCurrent(int dir, const std::string& name);
  Status BecomeCold(const std::string& name) REQUIRES(state_->mutex);
  Status OverwriteBase(int dir, const std::string& name) REQUIRES(state_->mutex);
  Status LoseOverlay(const std::string& why);
  void Count();

  Os& os() { return fs_.os_; }

  Filesystem& fs_;
  const NodeId id_;
  const bool is_awaited_;
  NodePtr node_;
  std::shared_ptr<FileState> state_;
  std::shared_ptr<CommitJob> job_;
  std::shared_ptr<Overlay> overlay_;  // null: it is hot
  std::shared_ptr<Session> session_;
  std::string name_;   // the stored name when it began
  Identity identity_;  // of the stored file when it began
  struct stat attributes_ = {};
  Descriptor truth_;  // the stored file
  std::unique_ptr<RandomAccessFile> plain_;
  XzWriteRequest request_;
  XzWriteResult written_;
  TempFile temp_;
  DescriptorPtr dir_;  // that it was published in
};

FileCommit::~FileCommit() {
  if (job_ != nullptr) {
    MutexLock lock(state_->mutex);
    if (state_->job == job_) {
      const NodePtr node = fs_.nodes_.Find(id_);
      const Status removed = job_->twin == 0 ? Status() : fs_.RemoveTwin(node, job_->twin);
      if (!removed) {
        Log(LogLevel::kWarning, removed.error().message);
      }
      state_->job = nullptr;
    }
  }
  if (!temp_.name.empty()) {
    session_->Unlink(temp_.name);
  }
}

Result<Committer::Outcome> FileCommit::Run() {
  if (!Begin()) {
    return Outcome::kLeft;
  }
  if (overlay_ != nullptr && fs_.options_.compress == Compress::kOff) {
    XZFS_RETURN_IF_ERROR(fs_.SyncNode(node_, /*only_data=*/false));
    return Outcome::kLeft;
  }
  XZFS_ASSIGN_OR_RETURN(const bool eligible, OpenTruth());
  if (!eligible) {
    return LeaveHot();
  }
  const auto attempt = [&]() -> Result<Outcome> {
    XZFS_RETURN_IF_ERROR(Encode());
    return overlay_ == nullptr ? PublishHot() : PublishEdited();
  };
  Result<Outcome> outcome = attempt();
  // Whoever changed it meanwhile is not to be told of errors that come of that.
  const bool done = outcome && *outcome == Outcome::kDone;
  return job_->cancelled && !done ? Outcome::kCancelled : outcome;
}

// Takes the job, if there is something to commit.
bool FileCommit::Begin() {
  const NodePtr node = fs_.nodes_.Find(id_);
  if (node == nullptr || node->state == nullptr) {
    return false;
  }
  state_ = node->state;
  MutexLock lock(state_->mutex);
  node_ = fs_.nodes_.Find(id_);
  overlay_ = state_->overlay;
  const bool pending = node_->kind == StoredKind::kPlain ? state_->changed : overlay_ != nullptr;
  const bool is_broken = state_->sync_error || state_->half_overwritten ||
                         (overlay_ != nullptr && overlay_->has_sync_error());
  if (!pending || state_->unlinked || is_broken || state_->changing != 0) {
    return false;
  }
  // Who closed the last descriptor and waits has no writer any more, though the kernel may not have
  // told us. For all others a handle that is there is one that may be written to.
  const unsigned writers = state_->writers - (is_awaited_ ? state_->closing : 0);
  if (writers != 0) {
    return false;
  }
  job_ = std::make_shared<CommitJob>();
  state_->job = job_;
  return true;
}

// It stays plain until it is changed again. What a commit that was cut off left beside it goes.
Result<Committer::Outcome> FileCommit::LeaveHot() {
  SharedLock names(fs_.namespace_);
  MutexLock lock(state_->mutex);
  if (job_->cancelled) {
    return Outcome::kCancelled;
  }
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr parent, fs_.OpenParent(node_, &name_));
  StoredEntry entry;
  entry.logical_name = StripEscape(name_).value_or(name_);
  entry.attributes = attributes_;
  XZFS_RETURN_IF_ERROR(fs_.RemoveHiddenTwin(parent->descriptor.get(), entry));
  state_->changed = false;
  return Outcome::kLeft;
}

// Opens what is to be compressed and plans it. False if it stays as it is.
Result<bool> FileCommit::OpenTruth() {
  Result<bool> opened = TryOpenTruth();
  if (!opened && opened.error().code == ENOENT && overlay_ != nullptr) {
    // Of its several names the one that was known is gone.
    XZFS_RETURN_IF_ERROR(fs_.FindNameOf(node_));
    opened = TryOpenTruth();
  }
  return opened;
}

Result<bool> FileCommit::TryOpenTruth() {
  XZFS_ASSIGN_OR_RETURN(session_, fs_.OurSession());
  SharedLock names(fs_.namespace_);
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr parent, fs_.OpenParent(node_, &name_));
  const int fd = os().OpenBeneath(parent->descriptor.get(), name_, O_RDONLY);
  if (fd == -ENOENT && overlay_ == nullptr) {
    return false;  // somebody else took it away
  }
  if (fd < 0) {
    return FailErrno(-fd, "open " + fs_.nodes_.PathOf(id_));
  }
  truth_ = Descriptor(os(), fd);
  if (const int error = os().FStat(fd, &attributes_); error < 0) {
    return FailErrno(-error, "stat " + fs_.nodes_.PathOf(id_));
  }
  identity_ = Identity::Of(attributes_);
  request_.options = fs_.encode_options();
  request_.cancelled = &job_->cancelled;
  if (overlay_ != nullptr) {
    XZFS_RETURN_IF_ERROR(PlanEdited());
    return true;
  }
  if (!Filesystem::IsNode(*node_, attributes_)) {
    return Fail(ESTALE, fs_.nodes_.PathOf(id_) + " was replaced");
  }
  if (fs_.options_.compress == Compress::kOff || !fs_.MayCommit(node_, attributes_)) {
    return false;
  }
  XZFS_RETURN_IF_ERROR(ClaimHot());
  plain_ = std::make_unique<StoredFile>(os(), fd, identity_.size_bytes);
  request_.plain = plain_.get();
  request_.pieces = PlanPieces(identity_.size_bytes, fs_.encoders_.block_bytes(),
                               request_.options.check, nullptr, nullptr);
  return true;
}

// Of several mounts one commits a plain file: its twin is nobody else's as long as the file is
// locked. Who has it open for writing, in another mount or in the source, is found out before it is
// encoded for nothing.
Status FileCommit::ClaimHot() {
  const int fd = truth_.get();
  // Other errors: there are no locks here.
  if (os().Lock(fd, /*wait=*/false) == -EWOULDBLOCK) {
    return Fail(EBUSY, fs_.nodes_.PathOf(id_) + " is locked: another mount commits it");
  }
  MutexLock lock(state_->mutex);
  if (state_->hot != nullptr) {
    return {};  // by ourselves: the handle that is being closed
  }
  const int lease = os().TakeLease(fd);
  if (lease == 0) {
    os().ReleaseLease(fd);
  }
  return lease == -EAGAIN ? Status(Fail(EBUSY, fs_.nodes_.PathOf(id_) + kOpenElsewhere)) : Status();
}

Status FileCommit::PlanEdited() {
  const OverlayBase base = overlay_->base();
  if (identity_.inode != base.inode || identity_.size_bytes != base.size_bytes ||
      identity_.mtime_ns != base.mtime_ns) {
    return LoseOverlay("the stored file was replaced or changed by somebody else");
  }
  const XzReader::Source source = fs_.SourceOf(node_);
  XZFS_ASSIGN_OR_RETURN(const auto file,
                        fs_.engine_.files.Get(source.identity, source.format, source.file_id,
                                              *source.stored, source.name));
  // Blocks can only be reused in a Stream with their Check.
  const std::vector<uint8_t> checks = file->index().Checks();
  if (checks.size() == 1 && CanEncode(checks[0])) {
    request_.options.check = checks[0];
  }
  plain_ = std::make_unique<EditedFile>(*overlay_, std::make_unique<XzReader>(fs_.engine_, source));
  request_.plain = plain_.get();
  request_.base = truth_.get();
  request_.pieces = PlanPieces(
      overlay_->size(), fs_.encoders_.block_bytes(), request_.options.check, &file->index(),
      [&](uint64_t begin, uint64_t end) { return overlay_->IsBase(begin, end); });
  return {};
}

// Makes the compressed file, complete, synced and verified, under a name of our own.
Status FileCommit::Encode() {
  XZFS_ASSIGN_OR_RETURN(temp_, session_->MakeTemp());
  const int out = temp_.file.get();
  const MemoryCharge charge = fs_.engine_.cache.Reserve(
      BlockEncoder::MemoryBytes(request_.options, fs_.encoders_.block_bytes()));
  XZFS_ASSIGN_OR_RETURN(written_, WriteXz(os(), fs_.encoders_, request_, out));
  XZFS_RETURN_IF_ERROR(CopyMetadata());
  if (const int error = os().Sync(out, /*only_data=*/false); error < 0) {
    return FailErrno(-error, "sync the compressed form of " + fs_.nodes_.PathOf(id_));
  }
  XZFS_RETURN_IF_ERROR(VerifyXz(os(), fs_.encoders_, request_, written_, out));
  return {};
}

Status FileCommit::CopyMetadata() {
  const int from = truth_.get();
  const int to = temp_.file.get();
  struct timespec times[2] = {attributes_.st_atim, attributes_.st_mtim};
  if (overlay_ != nullptr) {
    XZFS_ASSIGN_OR_RETURN(const struct stat edited, overlay_->Stat());
    times[0] = edited.st_atim;
    times[1] = edited.st_mtim;
  }
  struct stat made = {};
  int error = os().FStat(to, &made);
  if (error == 0 && (made.st_uid != attributes_.st_uid || made.st_gid != attributes_.st_gid)) {
    error = os().FChangeOwner(to, attributes_.st_uid, attributes_.st_gid);
  }
  if (error == 0) {
    error = os().FChangeMode(to, attributes_.st_mode & 07777);
  }
  if (error < 0) {
    return FailErrno(
        -error, "give the compressed form of " + fs_.nodes_.PathOf(id_) + " its owner and mode");
  }
  XZFS_RETURN_IF_ERROR(CopyXattrs(os(), from, to));
  if (error = os().FSetTimes(to, times); error < 0) {
    return FailErrno(-error,
                     "give the compressed form of " + fs_.nodes_.PathOf(id_) + " its times");
  }
  return {};
}

// The stored file still is what was compressed.
Result<bool> FileCommit::IsCurrent(int dir, const std::string& name) {
  struct stat st = {};
  const int error = os().StatAt(dir, name, &st);
  if (error < 0 && error != -ENOENT) {
    return FailErrno(-error, "stat " + Quoted(name));
  }
  return error == 0 && Identity::Of(st) == identity_;
}

// Gives the compressed file its name beside the plain one. False if it must not have it.
Result<bool> FileCommit::PublishTwin() {
  ExclusiveLock names(fs_.namespace_);
  MutexLock lock(state_->mutex);
  std::string name;
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr parent, fs_.OpenParent(node_, &name));
  const int dir = parent->descriptor.get();
  XZFS_ASSIGN_OR_RETURN(const bool current, IsCurrent(dir, name));
  if (job_->cancelled || !current) {
    return Fail(ESTALE, Quoted(name) + " was changed while it was compressed");
  }
  // With sync_close the handle that is being closed is still there; a later write opens it again.
  state_->hot = nullptr;
  // From now on nobody else, another mount of this source included, can open it for writing without
  // our knowing. EAGAIN: somebody has it open. Other errors: no leases here, so nobody can know.
  const int lease = os().TakeLease(truth_.get());
  if (lease == -EAGAIN) {
    return Fail(EBUSY, fs_.nodes_.PathOf(id_) + kOpenElsewhere);
  }
  job_->leased = lease == 0 ? truth_.get() : -1;
  StoredEntry hot;
  hot.logical_name = StripEscape(name).value_or(name);
  hot.attributes = attributes_;
  const std::string cold = ColdNameOf(hot.logical_name, Format::kXz);
  struct stat made = {};
  int error = os().FStat(temp_.file.get(), &made);
  if (error < 0) {
    return FailErrno(-error, "stat the compressed form of " + fs_.nodes_.PathOf(id_));
  }
  const KeptTimes times(os(), dir);
  error = RenameOverNothing(os(), session_->folder(), temp_.name, dir, cold);
  if (error == -EEXIST && fs_.names_.HasTwin(dir, hot).value_or(false)) {
    error = os().Rename(session_->folder(), temp_.name, dir, cold, 0);  // of a commit that was cut off
  }
  if (error == -EEXIST) {
    if (fs_.collisions_.Report(LogLevel::kWarning, "commit " + fs_.nodes_.PathOf(id_),
                               fs_.nodes_.PathOf(id_) + " stays uncompressed: " + Quoted(cold) +
                                   " is in its way; remove or rename that")) {
      fs_.engine_.stats.collisions.Add();
    }
    return false;
  }
  if (error < 0) {
    return FailErrno(-error, "rename the compressed form of " + fs_.nodes_.PathOf(id_));
  }
  temp_.name.clear();
  job_->twin = made.st_ino;
  return true;
}

Result<Committer::Outcome> FileCommit::PublishHot() {
  XZFS_ASSIGN_OR_RETURN(const Outcome outcome, ReplacePlain());
  if (outcome != Outcome::kDone) {
    return outcome;
  }
  Count();
  // Else a power cut could bring the plain file back, and what of it is on the disk. A sync of the
  // file looks after itself meanwhile.
  const int error = os().Sync(dir_->descriptor.get(), false);
  if (error < 0) {
    Log(LogLevel::kError, "sync of the directory of " + fs_.nodes_.PathOf(id_) + " failed");
    return outcome;
  }
  MutexLock lock(state_->mutex);
  state_->name_is_unsynced = false;
  return outcome;
}

Result<Committer::Outcome> FileCommit::ReplacePlain() {
  XZFS_ASSIGN_OR_RETURN(const bool published, PublishTwin());
  if (!published) {
    MutexLock lock(state_->mutex);
    state_->changed = false;
    return Outcome::kLeft;
  }
  const AtNormalPriority normal;  // others wait for the locks
  // The new name is on the disk before the old one goes.
  std::string name;
  XZFS_ASSIGN_OR_RETURN(dir_, fs_.OpenParent(node_, &name));
  const int dir = dir_->descriptor.get();
  if (const int error = os().Sync(dir, false); error < 0) {
    return FailErrno(-error, "sync the directory of " + fs_.nodes_.PathOf(id_));
  }
  ExclusiveLock names(fs_.namespace_);
  MutexLock lock(state_->mutex);
  if (job_->cancelled) {
    return Outcome::kCancelled;
  }
  XZFS_ASSIGN_OR_RETURN(const bool current, IsCurrent(dir, name));
  if (!current) {
    return Fail(ESTALE, Quoted(name) + " was changed while it was compressed");
  }
  const std::string logical = StripEscape(name).value_or(name);
  const std::string cold = ColdNameOf(logical, Format::kXz);
  struct stat twin = {};
  if (os().StatAt(dir, cold, &twin) < 0 || twin.st_ino != job_->twin) {
    return Fail(ESTALE, Quoted(cold) + " was replaced by somebody else");
  }
  if (job_->leased >= 0 && !os().HasLease(job_->leased)) {
    return Fail(EBUSY, fs_.nodes_.PathOf(id_) + kOpenElsewhere);
  }
  const KeptTimes times(os(), dir);
  fs_.listings_.NoteMove(fs_.nodes_.LocationOf(id_).parent, logical);
  if (const int error = os().Unlink(dir, name, 0); error < 0) {
    return FailErrno(-error, "remove the plain form of " + fs_.nodes_.PathOf(id_));
  }
  job_->twin = 0;
  XZFS_RETURN_IF_ERROR(BecomeCold(cold));
  state_->name_is_unsynced = true;
  return Outcome::kDone;
}

// The node is the compressed file `name` from now on, without changes.
Status FileCommit::BecomeCold(const std::string& name) {
  state_->changed = false;
  state_->hot = nullptr;
  fs_.DetachOverlay(id_, *state_);
  state_->job = nullptr;
  state_->may_differ = state_->writers != 0;
  struct stat st = {};
  const int file = attributes_.st_nlink > 1 && overlay_ != nullptr ? truth_.get() : temp_.file.get();
  if (const int error = os().FStat(file, &st); error < 0) {
    return FailErrno(-error, "stat " + Quoted(name));
  }
  const uint64_t plain_size = request_.pieces.empty() ? 0 : request_.pieces.back().end;
  uint64_t largest = 0;
  for (const XzPiece& piece : request_.pieces) {
    largest = std::max(largest, piece.end - piece.begin);
  }
  const KnownFile known = {.format = Format::kXz,
                           .plain_size = plain_size,
                           .file_id = fs_.engine_.files.NewId(),
                           .has_giant_blocks = largest > fs_.engine_.whole_block_bytes};
  const Identity identity = Identity::Of(st);
  fs_.known_.Add(identity, Suffix::kXz, known);
  fs_.nodes_.Update(
      id_,
      [&](Node& changed) {
        changed.kind = StoredKind::kCompressed;
        changed.format = Format::kXz;
        changed.identity = identity;
        changed.attributes = st;
        changed.SetKnown(known);
        ++changed.content;
      },
      &name);
  return {};
}

void FileCommit::Count() {
  Stats& stats = fs_.engine_.stats;
  stats.commits_done.Add();
  stats.commit_plain_bytes.Add(request_.pieces.empty() ? 0 : request_.pieces.back().end);
  stats.commit_stored_bytes.Add(written_.stored_bytes);
  stats.blocks_encoded.Add(written_.blocks_encoded);
  stats.blocks_stored.Add(written_.blocks_stored);
  stats.blocks_reused.Add(written_.blocks_reused);
}

Result<Committer::Outcome> FileCommit::PublishEdited() {
  struct stat made = {};
  if (const int error = os().FStat(temp_.file.get(), &made); error < 0) {
    return FailErrno(-error, "stat a compressed file");
  }
  const AtNormalPriority normal;  // others wait for the locks
  const bool in_place = attributes_.st_nlink > 1;
  Identity as = Identity::Of(made);
  as.inode = in_place ? identity_.inode : as.inode;
  XZFS_RETURN_IF_ERROR(overlay_->NotePublishing(
      {.inode = as.inode, .size_bytes = as.size_bytes, .mtime_ns = as.mtime_ns}));
  DescriptorPtr parent;
  {
    ExclusiveLock names(fs_.namespace_);
    MutexLock lock(state_->mutex);
    std::string name;
    XZFS_ASSIGN_OR_RETURN(parent, fs_.OpenParent(node_, &name));
    const int dir = parent->descriptor.get();
    const KeptTimes times(os(), dir);
    XZFS_ASSIGN_OR_RETURN(const bool current, IsCurrent(dir, name));
    if (job_->cancelled || !current) {
      return Fail(ESTALE, Quoted(name) + " was changed while it was compressed");
    }
    if (in_place) {
      XZFS_RETURN_IF_ERROR(OverwriteBase(dir, name));
    } else {
      const int error = os().Rename(session_->folder(), temp_.name, dir, name, 0);
      if (error < 0) {
        return FailErrno(-error, "rename the compressed form of " + fs_.nodes_.PathOf(id_));
      }
      temp_.name.clear();
    }
    XZFS_RETURN_IF_ERROR(BecomeCold(name));
  }
  if (const int error = os().Sync(parent->descriptor.get(), false); error < 0) {
    // The overlay stays for the next mount: it tells from its note that all is done.
    Log(LogLevel::kError, "sync of the directory of " + fs_.nodes_.PathOf(id_) + " failed");
  } else if (const Status removed = overlay_->Remove(); !removed) {
    Log(LogLevel::kWarning, removed.error().message);
  }
  Count();
  return Outcome::kDone;
}

// A file with several names must stay one file: its bytes are replaced. The new ones are on the
// disk under a name of our own, and an intent says so, until that is done. Should it fail half way
// the next mount completes it.
Status FileCommit::OverwriteBase(int dir, const std::string& name) {
  struct stat made = {};
  const int fd = os().OpenBeneath(dir, name, O_RDWR);
  if (fd < 0) {
    return FailErrno(-fd, "open " + Quoted(name) + " to overwrite it");
  }
  const Descriptor target(os(), fd);
  int error = os().FStat(temp_.file.get(), &made);
  if (error == 0) {  // a full disk is met before anything is overwritten
    error = os().Allocate(fd, FALLOC_FL_KEEP_SIZE, 0, static_cast<uint64_t>(made.st_size));
    error = error == -EOPNOTSUPP ? 0 : error;
  }
  if (error < 0) {
    return FailErrno(-error, "make room to overwrite " + Quoted(name));
  }
  XZFS_ASSIGN_OR_RETURN(
      const std::string intent,
      session_->WriteIntent({{IntentStep::Kind::kOverwrite, identity_.inode, temp_.name,
                              fs_.nodes_.FullPathOf(id_)}},
                            /*durable=*/true));
  const std::string temp = std::exchange(temp_.name, std::string());  // it's the intent's now
  if (const Status written = OverwriteFile(os(), temp_.file.get(), dir, name); !written) {
    state_->half_overwritten = true;
    return written;
  }
  session_->Unlink(intent);
  session_->Unlink(temp);
  return {};
}

// Keeps it, for the user to look at, where nobody will touch it.
Status FileCommit::LoseOverlay(const std::string& why) {
  {
    MutexLock lock(state_->mutex);
    if (state_->overlay != overlay_) {
      return Fail(ESTALE, "the overlay is gone");
    }
    XZFS_RETURN_IF_ERROR(
        fs_.KeepLostOverlay(*state_->session, *overlay_, fs_.nodes_.PathOf(id_), why));
    fs_.DetachOverlay(id_, *state_);
    state_->changed = false;
  }
  return Fail(EIO, fs_.nodes_.PathOf(id_) + ": " + why + "; its changes are in .xzfs/lost+found");
}

// Queues a file whose last writer is gone.
void Filesystem::QueueCommit(const NodePtr& node, bool is_awaited) {
  if (options_.compress == Compress::kOff) {
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
  if (st.st_nlink > 1 || (st.st_mode & (S_ISUID | S_ISGID)) != 0 ||
      static_cast<uint64_t>(st.st_size) < options_.min_size_bytes) {
    return false;
  }
  const std::string stored = nodes_.FullPathOf(node->id);
  const std::string path = StripEscape(stored).value_or(stored);
  const std::string file = path.substr(path.rfind('/') + 1);
  for (const std::string& glob : options_.excludes) {
    // A glob with a slash is meant for the path, one without for the name.
    const std::string& subject = glob.find('/') == std::string::npos ? file : path;
    const char* const pattern = glob.c_str() + (glob.starts_with('/') ? 1 : 0);
    if (fnmatch(pattern, subject.c_str(), FNM_PATHNAME) == 0) {
      return false;
    }
  }
  return true;
}

Result<Committer::Outcome> Filesystem::CommitNode(NodeId id, bool is_awaited) {
  auto outcome = FileCommit(*this, id, is_awaited).Run();
  if (!outcome) {
    engine_.stats.commits_failed.Add();
    Log(LogLevel::kError, "commit: " + outcome.error().message +
                              "; the file is readable as it is and the commit is tried again");
    const NodePtr node = nodes_.Find(id);
    if (node != nullptr && FindEdited(node->identity) == node) {
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
  XZFS_RETURN_IF_ERROR(overlay.MoveTo(lost.get(), name));
  os_.Sync(lost.get(), false);
  engine_.stats.overlays_lost.Add();
  Log(LogLevel::kError,
      path + ": " + why + "; its pending changes are kept in .xzfs/lost+found/" + name + ".data");
  return {};
}

Status Filesystem::SyncCommits() {
  QueueClosing();
  return committer_.Sync();
}

void Filesystem::EndCommits(bool finish) {
  QueueClosing();
  committer_.End(finish);
  SyncOverlays();
  const size_t pending = committer_.Pending().size();
  if (pending != 0 || writers_ != 0) {
    Log(LogLevel::kInfo, std::to_string(pending) + " files are not compressed yet, " +
                             std::to_string(writers_.load()) +
                             " were still open; the next mount goes on with them");
  }
  MutexLock lock(session_mutex_);
  const bool idle = options_.compress != Compress::kOff && writers_ == 0 && pending == 0;
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
