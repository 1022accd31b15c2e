// The end of a commit: the compressed file takes the place of what it was made of.
#include <fcntl.h>
#include <fnmatch.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/limits.h>
#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>

#include "base/log.h"
#include "fs/file_commit.h"
#include "store/content_hash.h"
#include "store/directory_reader.h"
#include "store/intents.h"
#include "store/kept_times.h"
#include "store/names.h"
#include "store/plain_commit.h"
#include "store/records.h"
#include "store/settle_claims.h"
#include "store/xz_writer.h"
#include "xz/block_decoder.h"

namespace xzfs {
namespace {

// A read of a plain file takes no longer, unless its disk is in trouble.
constexpr std::chrono::seconds kMostReading{2};

std::string Quoted(const std::string& name) { return "'" + name + "'"; }

}  // namespace

// What a commit does in a directory moves its ctime; the one that is shown stays.
class FileCommit::KeptDirectory {
 public:
  // Names are held exclusively while this lives. `dir` is open as `fd`.
  KeptDirectory(NodeTree& tree, Os& os, NodeId dir, int fd)
      : nodes_(tree.nodes()), os_(os), dir_(dir), fd_(fd) {
    struct stat st = {};
    const NodePtr node = nodes_.Find(dir);
    if (node != nullptr && os_.FStat(fd, &st) == 0) {
      shown_ = node->ShownCtime(st);
    }
  }
  ~KeptDirectory() {
    struct stat st = {};
    if (shown_ && os_.FStat(fd_, &st) == 0) {
      nodes_.Update(dir_, [&](Node& changed) {
        changed.kept_ctime = {.left = Identity::Of(st), .shown = *shown_};
      });
    }
  }
  KeptDirectory(const KeptDirectory&) = delete;
  KeptDirectory& operator=(const KeptDirectory&) = delete;

 private:
  NodeTable& nodes_;
  Os& os_;
  const NodeId dir_;
  const int fd_;
  std::optional<struct timespec> shown_;
};

// With sync_close the handle that is being closed is still there, and reads that are under way have
// its descriptor: who has the file open for writing, and be it ourselves, keeps a lease away. A
// later write opens it again, later reads do without.
void FileCommit::AwaitReads() {
  std::weak_ptr<SharedDescriptor> hot;
  {
    FileLock lock(*state_);
    if (job_->cancelled) {
      return;
    }
    hot = state_->ClosePlain();
  }
  const auto enough = std::chrono::steady_clock::now() + kMostReading;
  while (!hot.expired() && std::chrono::steady_clock::now() < enough) {
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
}

// Step 5 of a plain file and 6 of an edited one: before a name is given what is going to be done
// with it is on the disk. No lock is held.
Status FileCommit::ClaimPlace(Claim::Kind kind) {
  XZFS_ASSIGN_OR_RETURN(Claim claim, ClaimOn(os(), kind, truth_.get(), temp_.file.get()));
  const NodeTable::Location location = parts_.tree.nodes().LocationOf(id_);
  claim.dir = parts_.zones.PathInZone(location.parent);
  claim.name = location.stored_name;
  claim.other = kind == Claim::Kind::kTwin ? ColdNameOfPlain(claim.name)
                                           : session_->NewId() + std::string(kAsideSuffix);
  XZFS_ASSIGN_OR_RETURN(claim_, session_->claims().Add(std::move(claim)));
  return claim_.Sync();
}

// Unless it has to stay for the next mount. A twin that was removed doesn't come back with a power
// cut then.
void FileCommit::EndClaim() {
  if (twin_ && claim_.held() && os().Sync(dir_->descriptor.get(), false) < 0) {
    claim_ = {};
  }
  claim_.Done();
}

// Step 6: gives the compressed file its name beside the plain one. False if it must not have it.
Result<bool> FileCommit::PublishTwin() {
  ExclusiveLock names(parts_.tree.namespace_lock());
  FileLock lock(*state_);
  std::string name;
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr parent, parts_.tree.OpenParent(node_, &name));
  if (job_->cancelled) {
    return Fail(ESTALE, Quoted(name) + " was changed while it was compressed");
  }
  if (claim_.claim().name != name) {
    return Fail(ESTALE, Quoted(name) + " was renamed while it was compressed");
  }
  const KeptDirectory kept(parts_.tree, os(), parts_.tree.nodes().LocationOf(id_).parent,
                           parent->descriptor.get());
  const PlainFile plain = Plain();
  XZFS_ASSIGN_OR_RETURN(twin_, xzfs::PublishTwin(os(), parts_.tree.twins(), plain,
                                                 parent->descriptor.get(), name, *session_, temp_));
  if (!twin_) {
    why_left_ = Error{EEXIST, plain.path + " stays uncompressed: " + Quoted(ColdNameOfPlain(name)) +
                                  " is in its way; remove or rename that"};
    if (parts_.lookups.collisions().Report(LogLevel::kWarning, "commit " + plain.path,
                                           why_left_->message)) {
      parts_.engine.stats.collisions.Add();
    }
    return false;
  }
  job_->leased = twin_->leased ? truth_.get() : -1;
  job_->twin = twin_->key;
  dir_ = parent;
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
    Log(LogLevel::kError,
        "sync of the directory of " + parts_.tree.nodes().PathOf(id_) + " failed");
    claim_ = {};
    return outcome;
  }
  claim_.Done();
  FileLock lock(*state_);
  state_->NoteNameUnsynced(false);
  return outcome;
}

Result<Committer::Outcome> FileCommit::ReplacePlain() {
  AwaitReads();
  XZFS_RETURN_IF_ERROR(ClaimPlace(Claim::Kind::kTwin));
  XZFS_ASSIGN_OR_RETURN(const bool published, PublishTwin());
  if (!published) {
    FileLock lock(*state_);
    if (job_->cancelled) {
      return Outcome::kCancelled;  // a writer has come: there is something new to commit
    }
    state_->ForgetChange();
    parts_.pending.Forget(id_);
    return Outcome::kLeft;
  }
  // The new name is on the disk before the old one goes.
  std::string name;
  XZFS_ASSIGN_OR_RETURN(dir_, parts_.tree.OpenParent(node_, &name));
  const int dir = dir_->descriptor.get();
  if (const int error = os().Sync(dir, false); error < 0) {
    return FailErrno(-error, "sync the directory of " + parts_.tree.nodes().PathOf(id_));
  }
  ExclusiveLock names(parts_.tree.namespace_lock());
  FileLock lock(*state_);
  if (job_->cancelled) {
    return Outcome::kCancelled;
  }
  const NodeId dir_id = parts_.tree.nodes().LocationOf(id_).parent;
  parts_.listings.NoteMove(dir_id, StripEscape(name).value_or(name));
  const KeptDirectory kept(parts_.tree, os(), dir_id, dir);
  XZFS_RETURN_IF_ERROR(RemovePlain(os(), Plain(), dir, name, *twin_));
  job_->twin = {};
  XZFS_RETURN_IF_ERROR(BecomeCold(ColdNameOfPlain(name)));
  state_->NoteNameUnsynced(true);
  return Outcome::kDone;
}

// The node is the compressed file `name` from now on, without changes.
Status FileCommit::BecomeCold(const std::string& name) {
  // As it was shown until now: the stored file has not been changed since. Nothing may fail here
  // for want of that, the new file has its name already.
  struct stat before = attributes_;
  const Status shown = parts_.tree.ShowAttributes(*node_, overlay_.get(), &before);
  parts_.pending.Forget(id_);
  parts_.edited.Detach(id_, *state_);
  state_->BecomeCompressed();
  parts_.tree.files().Unpin(id_);  // of what the file has been
  struct stat st = {};
  const int file = is_in_place_ ? truth_.get() : temp_.file.get();
  if (const int error = os().FStat(file, &st); error < 0) {
    return FailErrno(-error, "stat " + Quoted(name));
  }
  const KnownFile known = {
      .format = Format::kXz,
      .plain_size = request_.plan.size(),
      .file_id = parts_.engine.files.NewId(),
      .has_giant_blocks = request_.plan.largest_piece() > parts_.engine.whole_block_bytes};
  const Identity identity = Identity::Of(st);
  parts_.tree.known().Add(identity, Suffix::kXz, known);
  parts_.tree.nodes().Update(
      id_,
      [&](Node& changed) {
        changed.kind = StoredKind::kCompressed;
        changed.format = Format::kXz;
        changed.identity = identity;
        changed.attributes = st;
        changed.kept_ctime = {.left = identity, .shown = shown ? before.st_ctim : st.st_ctim};
        changed.SetKnown(known);
        ++changed.content;
      },
      &name);
  parts_.tree.DropRead(*node_);  // of the old base
  // Not before: what was decoded of the old base would seem to be of this file.
  state_->NoteCommitted();
  return {};
}

void FileCommit::Count() {
  Stats& stats = parts_.engine.stats;
  stats.commits_done.Add();
  if (parts_.cold.is_on() && overlay_ == nullptr) {
    stats.cold_files.Add();
    stats.cold_plain_bytes.Add(identity_.size_bytes);
    stats.cold_stored_bytes.Add(written_.stored_bytes);
  }
  stats.commit_plain_bytes.Add(request_.plan.size());
  stats.commit_stored_bytes.Add(written_.stored_bytes);
  stats.blocks_encoded.Add(written_.blocks_encoded);
  stats.blocks_stored.Add(written_.blocks_stored);
  stats.blocks_reused.Add(written_.blocks_reused);
}

Result<Committer::Outcome> FileCommit::PublishEdited() {
  FileFacts made;
  if (const int error = os().FactsAt(temp_.file.get(), "", &made); error < 0) {
    return FailErrno(-error, "stat a compressed file");
  }
  StoredKey as = StoredKey::Of(made);
  if (is_in_place_) {
    const OverlayBase base = overlay_->base();
    as.inode = base.inode;
    as.birth_ns = base.birth_ns;
  }
  uint64_t content = 0;
  if (os().IsRemote(session_->folder())) {
    XZFS_ASSIGN_OR_RETURN(content, ContentHash(os(), temp_.file.get()));
  }
  XZFS_RETURN_IF_ERROR(parts_.syncs.SyncName(node_));
  XZFS_RETURN_IF_ERROR(overlay_->NotePublishing({.inode = as.inode,
                                                 .size_bytes = as.size_bytes,
                                                 .mtime_ns = as.mtime_ns,
                                                 .birth_ns = as.birth_ns},
                                                content));
  if (!is_in_place_) {
    XZFS_RETURN_IF_ERROR(ClaimPlace(Claim::Kind::kAside));
  }
  DescriptorPtr parent;
  {
    ExclusiveLock names(parts_.tree.namespace_lock());
    FileLock lock(*state_);
    std::string name;
    XZFS_ASSIGN_OR_RETURN(parent, parts_.tree.OpenParent(node_, &name));
    const int dir = parent->descriptor.get();
    const KeptDirectory kept(parts_.tree, os(), parts_.tree.nodes().LocationOf(id_).parent, dir);
    const KeptTimes times(os(), dir);
    XZFS_ASSIGN_OR_RETURN(const bool current, IsCurrent(os(), dir, name, identity_));
    if (job_->cancelled || !current) {
      return Fail(ESTALE, Quoted(name) + " was changed while it was compressed");
    }
    if (is_in_place_) {
      XZFS_RETURN_IF_ERROR(OverwriteBase(dir, name));
    } else {
      XZFS_RETURN_IF_ERROR(ReplaceBase(dir, name));
    }
    XZFS_RETURN_IF_ERROR(BecomeCold(name));
  }
  if (const int error = os().Sync(parent->descriptor.get(), false); error < 0) {
    // The overlay and the old base stay for the next mount: it tells from its notes what is done.
    Log(LogLevel::kError,
        "sync of the directory of " + parts_.tree.nodes().PathOf(id_) + " failed");
    temp_.name.clear();
    claim_ = {};
  } else if (const Status removed = overlay_->Remove(); !removed) {
    Log(LogLevel::kWarning, removed.error().message);
  }
  Count();
  return Outcome::kDone;
}

// The old base is the temp then, and goes with it.
Status FileCommit::ReplaceBase(int dir, const std::string& name) {
  if (claim_.claim().name != name) {
    return Fail(ESTALE, Quoted(name) + " was renamed while it was compressed");
  }
  Status swapped = PutAside(os(), dir, *session_, claim_, &temp_);
  if (swapped || swapped.error().code != EINVAL) {
    return swapped;
  }
  if (const int error = os().Rename(session_->folder(), temp_.name, dir, name, 0); error < 0) {
    return FailErrno(-error, "rename the compressed form of " + parts_.tree.nodes().PathOf(id_));
  }
  temp_.name.clear();
  return {};
}

// A file with several names must stay one file, and where a directory only grows no other file can
// take its name: its bytes are replaced. The new ones are on the
// disk under a name of our own, and an intent says so, until that is done. Should it fail half way
// the next mount completes it, and until then nothing is read from it or written to it.
Status FileCommit::OverwriteBase(int dir, const std::string& name) {
  const std::string path = parts_.tree.nodes().PathBelow(id_, zone_->top).value_or(std::string());
  XZFS_ASSIGN_OR_RETURN(const std::string intent,
                        session_->WriteIntent({{IntentStep::Kind::kOverwrite, identity_.inode,
                                                temp_.name, path, overlay_->base().birth_ns}},
                                              /*durable=*/true));
  const std::string temp = std::exchange(temp_.name, std::string());  // it's the intent's now
  bool begun = false;
  Status written = OverwriteFile(os(), temp_.file.get(), dir, name, begun);
  if (!written && begun) {
    parts_.edited.NoteHalfOverwritten(FileId::Of(identity_));
    return Fail(written.error().code, written.error().message +
                                          "; it is overwritten half way, and unusable until the "
                                          "next mount completes that");
  }
  session_->Unlink(intent);
  session_->Unlink(temp);
  struct stat st = {};
  if (!written && os().FStat(truth_.get(), &st) == 0) {
    (void)parts_.tree.RefreshFrom(node_, st, name);  // its ctime has moved
  }
  return written;
}

// Keeps it, for the user to look at, where nobody will touch it.
Status FileCommit::LoseOverlay(const std::string& why) {
  {
    FileLock lock(*state_);
    if (state_->overlay() != overlay_) {
      return Fail(ESTALE, "the overlay is gone");
    }
    XZFS_RETURN_IF_ERROR(parts_.overlays.KeepLost(*state_->edit().session, *overlay_,
                                                  parts_.tree.nodes().PathOf(id_), why));
    parts_.edited.Detach(id_, *state_);
    state_->ForgetChange();
  }
  return Fail(
      EIO, parts_.tree.nodes().PathOf(id_) + ": " + why + "; its changes are in .xzfs/lost+found");
}

}  // namespace xzfs
