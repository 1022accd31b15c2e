// The commit of an edited file. The steps have the numbers of the table in docs/commit.md,
// "The commit of an edited file".
//
// It encodes the bytes that readers see: the overlay's over the base's. Blocks of the base without
// changes are copied as they are stored. The overlay stays until the new file has the base's name
// on the disk. So at every moment there is the new file, or the base with the overlay.
#include "fs/commit_of_edited.h"

#include <sys/stat.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "base/idle_priority.h"
#include "base/log.h"
#include "base/try.h"
#include "cache/loaded_index.h"
#include "cache/read_engine.h"
#include "cache/xz_reader.h"
#include "fs/base_overwrite.h"
#include "fs/edited_files.h"
#include "fs/options.h"
#include "fs/overlays.h"
#include "fs/reads.h"
#include "fs/syncs.h"
#include "fs/zone_recovery.h"
#include "store/content_hash.h"
#include "store/directory_reader.h"
#include "store/kept_times.h"
#include "store/overlay.h"
#include "store/overlay_content.h"
#include "store/plain_commit.h"
#include "store/replace_rights.h"
#include "store/settle_claims.h"

namespace xzfs {
namespace {

// Whether this liblzma can write the Check.
bool CanEncode(Check check) {
  return check == Check::kNone || check == Check::kCrc32 || check == Check::kCrc64 ||
         check == Check::kSha256;
}

// The decoded bytes of a base. `is_damaged` becomes true if some can't be decoded.
class DecodedBase : public RandomAccessFile {
 public:
  DecodedBase(ReadEngine& engine, XzReader::Source source, std::atomic<bool>& is_damaged)
      : reader_(engine, std::move(source)), is_damaged_(is_damaged) {}
  Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) const override {
    auto got = reader_.ReadAt(offset, out);
    if (!got &&
        (got.error().kind == ErrorKind::kDamaged || got.error().kind == ErrorKind::kUnsupported)) {
      is_damaged_ = true;
    }
    return got;
  }
  uint64_t size() const override { return reader_.size(); }

 private:
  const XzReader reader_;
  std::atomic<bool>& is_damaged_;
};

// The decoded bytes of a compressed file with its pending changes.
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

Result<Committer::Outcome> CommitOfEdited::Run() {
  if (parts_.options.compress == Compress::kOff) {
    XZFS_RETURN_IF_ERROR(parts_.syncs.SyncNode(work_.node, SyncScope::kAll));
    return Outcome::kLeft;
  }
  XZFS_ASSIGN_OR_RETURN(const bool has_place, work_.FindPlace());
  if (!has_place) {
    return Outcome::kLeft;
  }
  if (auto half_done = parts_.tree.overwritten().Find(FileId::Of(work_.node->identity))) {
    return BaseOverwrite(work_, overlay_).Resume(std::move(half_done));
  }
  // Step 1.
  XZFS_RETURN_IF_ERROR(OpenBase());
  // Steps 2 to 4.
  XZFS_RETURN_IF_ERROR(work_.Encode());
  XZFS_RETURN_IF_ERROR(work_.Complete(overlay_.get()));
  // Step 5.
  XZFS_RETURN_IF_ERROR(NotePublishing());
  if (is_in_place_) {
    return Overwrite();
  }
  // Step 6.
  XZFS_RETURN_IF_ERROR(work_.ClaimPlace(Claim::Kind::kAside));
  // Steps 7 to 9.
  XZFS_RETURN_IF_ERROR(TakePlace());
  // Steps 10 and 11. The destructor of the work takes step 12.
  RemoveOverlay();
  work_.Count();
  return Outcome::kDone;
}

// Step 1.
Status CommitOfEdited::OpenBase() {
  Status opened = TryOpenBase();
  if (!opened && opened.error().code == ENOENT) {
    // The known one of its several names was removed.
    const Status found = parts_.recovery.FindNameOf(work_.node);
    if (!found && found.error().code == ENOENT && !work_.job->cancelled) {
      XZFS_RETURN_IF_ERROR(LoseOverlay("another program removed the stored file"));
    }
    XZFS_RETURN_IF_ERROR(found);
    opened = TryOpenBase();
  }
  return opened;
}

Status CommitOfEdited::TryOpenBase() {
  SharedLock names(parts_.tree.namespace_lock());
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr parent, work_.OpenStored());
  const int dir = parent->descriptor.get();
  const struct stat& st = work_.attributes;
  if (work_.identity != work_.node->identity && NodeTree::HasContentOf(*work_.node, st)) {
    // Another program has changed its mode or its links.
    XZFS_RETURN_IF_ERROR(parts_.tree.RefreshFrom(work_.node, st, work_.name));
    XZFS_ASSIGN_OR_RETURN(work_.node, parts_.tree.FindNode(work_.id));
  }
  is_in_place_ = st.st_nlink > 1 || !MayReplace(work_.os(), dir, work_.name);
  if (is_in_place_) {
    XZFS_RETURN_IF_ERROR(MayChange(work_.os(), dir, work_.name));
  }
  return Plan();
}

Status CommitOfEdited::Plan() {
  FileFacts facts;
  if (const int error = work_.os().FactsAt(work_.stored.get(), "", &facts); error < 0) {
    return FailErrno(-error, "stat " + work_.path());
  }
  if (!overlay_->base().key().Matches(StoredKey::Of(facts))) {
    if (const auto as = overlay_->notes().published_as;
        as && as->key().Matches(StoredKey::Of(facts))) {
      return Fail(EIO, work_.path() +
                           " holds its changes, but the commit could not be completed: the "
                           "next mount completes it");
    }
    return LoseOverlay("another program replaced or changed the stored file");
  }
  const XzReader::Source source = parts_.reads.SourceOf(work_.node);
  XZFS_ASSIGN_OR_RETURN(base_,
                        parts_.engine.indexes.Get(source.identity, source.format, source.file_id,
                                                  *source.stored, source.name));
  XzWriteRequest& request = work_.request;
  // Blocks can only be reused in a Stream with their Check.
  const std::vector<Check> checks = base_->index().Checks();
  if (checks.size() == 1 && CanEncode(checks[0])) {
    request.options.check = checks[0];
  }
  work_.plain = std::make_unique<EditedFile>(
      *overlay_, std::make_unique<DecodedBase>(parts_.engine, source, is_base_damaged_));
  request.plain = work_.plain.get();
  request.base = work_.stored.get();
  request.plan =
      XzPlan(overlay_->size(), parts_.encoders.block_bytes(), request.options.check, base_->index(),
             [&](uint64_t begin, uint64_t end) { return overlay_->IsBase(begin, end); });
  return {};
}

// Step 5.
Status CommitOfEdited::NotePublishing() {
  FileFacts made;
  if (const int error = work_.os().FactsAt(work_.temp.file.get(), "", &made); error < 0) {
    return FailErrno(-error, "stat a compressed file");
  }
  StoredKey as = StoredKey::Of(made);
  if (is_in_place_) {
    const OverlayBase base = overlay_->base();
    as.inode = base.inode;
    as.birth_ns = base.birth_ns;
  }
  uint64_t content = 0;
  if (work_.os().IsRemote(work_.session->folder())) {
    XZFS_ASSIGN_OR_RETURN(content, ContentHash(work_.os(), work_.temp.file.get()));
  }
  XZFS_RETURN_IF_ERROR(parts_.syncs.SyncName(work_.node));
  return overlay_->NotePublishing({.inode = as.inode,
                                   .size_bytes = as.size_bytes,
                                   .mtime_ns = as.mtime_ns,
                                   .birth_ns = as.birth_ns},
                                  content);
}

// Steps 7 to 9.
Status CommitOfEdited::TakePlace() {
  ExclusiveLock names(parts_.tree.namespace_lock());
  FileLock lock(*work_.state);
  std::string name;
  XZFS_ASSIGN_OR_RETURN(dir_, parts_.tree.OpenParent(work_.node, &name));
  const int dir = dir_->descriptor.get();
  const KeptDirectory kept(work_, parts_.tree.nodes().LocationOf(work_.id).parent, dir);
  const KeptTimes times(work_.os(), dir);
  XZFS_ASSIGN_OR_RETURN(const bool is_current, IsCurrent(work_.os(), dir, name, work_.identity));
  if (work_.job->cancelled || !is_current) {
    return Fail(ESTALE, "'" + name + "' was changed while it was compressed");
  }
  XZFS_RETURN_IF_ERROR(ReplaceBase(dir, name));
  return work_.BecomeCompressed(overlay_.get(), work_.temp.file.get(), name);
}

// Steps 7 to 9. The exchange makes the old base the temp, which is removed later.
Status CommitOfEdited::ReplaceBase(int dir, const std::string& name) {
  if (work_.claim.claim().name != name) {
    return Fail(ESTALE, "'" + name + "' was renamed while it was compressed");
  }
  Status swapped = PutAside(work_.os(), dir, *work_.session, work_.claim, &work_.temp);
  if (swapped || swapped.error().code != EINVAL) {
    return swapped;
  }
  const int folder = work_.session->folder();
  if (const int error = work_.os().Rename(folder, work_.temp.name, dir, name, 0); error < 0) {
    return FailErrno(-error, "rename the compressed form of " + work_.path());
  }
  work_.temp.name.clear();
  return {};
}

// A file with several names must stay one file. In an append-only directory no other file can take
// its name.
Result<Committer::Outcome> CommitOfEdited::Overwrite() {
  XZFS_ASSIGN_OR_RETURN(const Outcome outcome, BaseOverwrite(work_, overlay_).Run());
  if (outcome == Outcome::kDone) {
    work_.Count();
  }
  return outcome;
}

// Steps 10 and 11.
void CommitOfEdited::RemoveOverlay() {
  if (work_.os().Sync(dir_->descriptor.get()) < 0) {
    // The overlay and the old base stay for the next mount, which sees in its notes which steps
    // were done.
    Log(LogLevel::kError, "sync of the directory of " + work_.path() + " failed");
    work_.temp.name.clear();
    work_.claim = {};
  } else if (const Status removed = overlay_->Remove(); !removed) {
    Log(LogLevel::kWarning, removed.error().message);
  }
}

// Moves the overlay to lost+found, where the user can look at it.
Status CommitOfEdited::LoseOverlay(const std::string& why) {
  {
    FileLock lock(*work_.state);
    if (work_.state->overlay() != overlay_) {
      return Fail(ESTALE, "the overlay is gone");
    }
    XZFS_RETURN_IF_ERROR(
        parts_.overlays.KeepLost(*work_.state->edit().session, *overlay_, work_.path(), why));
    parts_.edited.Detach(work_.id, *work_.state);
    work_.state->ForgetChange();
  }
  return Fail(EIO, work_.path() + ": " + why + "; its changes are in .xzfs/lost+found");
}

}  // namespace xzfs
