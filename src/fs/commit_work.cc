// Encoding and verifying hold no lock, since they take seconds. A thread that wants to change the
// file sets a flag, and the encoder looks at it. Every change that other threads may see is made
// under the file's lock, with names held.
#include "fs/commit_work.h"

#include <fcntl.h>

#include <cerrno>
#include <utility>

#include "base/log.h"
#include "base/stats.h"
#include "base/try.h"
#include "cache/read_engine.h"
#include "fs/edited_files.h"
#include "fs/live_options.h"
#include "store/overlay.h"
#include "store/plain_commit.h"
#include "store/records.h"
#include "store/settle_claims.h"
#include "xz/block_encoder.h"
#include "xzfs/result.h"

namespace xzfs {

CommitWork::~CommitWork() {
  if (job != nullptr) {
    FileLock lock(*state);
    if (state->job() == job) {
      state->DropJob();
    }
  }
  if (!temp.name.empty()) {
    session->Unlink(temp.name);
  }
  claim.Done();
}

Result<bool> CommitWork::FindPlace() {
  zone = parts.tree.tops().ZoneOf(id);
  auto made = parts.zones.SessionFor(zone);
  if (made) {
    session = std::move(*made);
    return true;
  }
  if (zone != nullptr && parts.zones.IsRefused(*zone)) {
    return false;
  }
  return Failure(made.error());
}

Result<DescriptorPtr> CommitWork::OpenStored() {
  {
    FileLock lock(*state);
    if (state->unlinked() || job->cancelled) {  // while we waited for the names
      job->cancelled = true;
      return Fail(ECANCELED, path() + " was removed");
    }
  }
  XZFS_ASSIGN_OR_RETURN(DescriptorPtr dir, parts.tree.OpenParent(node, &name));
  // Does not wait for a lease, since names are held.
  const int fd = os().OpenBeneath(dir->descriptor.get(), name, O_RDONLY | O_NONBLOCK);
  if (fd == -EWOULDBLOCK) {
    return Fail(EBUSY, path() + kOpenElsewhere);
  }
  if (fd < 0) {
    return FailErrno(-fd, "open " + path());
  }
  stored = Descriptor(os(), fd);
  if (const int error = os().FStat(fd, &attributes); error < 0) {
    return FailErrno(-error, "stat " + path());
  }
  identity = Identity::Of(attributes);
  request.options = parts.live.encode_options();
  request.cancelled = &job->cancelled;
  return dir;
}

Status CommitWork::Encode() {
  XZFS_ASSIGN_OR_RETURN(temp, session->MakeTemp());
  XZFS_RETURN_IF_ERROR(ClaimOwner());
  const MemoryCharge charge = ReserveEncoder(parts.encoders.block_bytes());
  XZFS_ASSIGN_OR_RETURN(written, WriteXz(os(), parts.encoders, request, temp.file.get()));
  return {};
}

MemoryCharge CommitWork::ReserveEncoder(uint64_t block_bytes) const {
  return parts.engine.budget.Reserve(BlockEncoder::MemoryBytes(request.options, block_bytes));
}

Status CommitWork::Complete(const Overlay* overlay) {
  const int out = temp.file.get();
  const MemoryCharge charge = ReserveEncoder(parts.encoders.block_bytes());
  // Step 3, while the disk writes.
  XZFS_RETURN_IF_ERROR(VerifyXz(os(), parts.encoders, request, written, out));
  // Step 4.
  struct timespec times[2] = {attributes.st_atim, attributes.st_mtim};
  if (overlay != nullptr) {
    XZFS_ASSIGN_OR_RETURN(const struct stat edited, overlay->Stat());
    times[0] = edited.st_atim;
    times[1] = edited.st_mtim;
  }
  XZFS_RETURN_IF_ERROR(CopyMetadata(os(), stored.get(), attributes, times, out, path()));
  const int error = os().Sync(out);
  return error < 0 ? FailErrno(-error, "sync the compressed form of " + path()) : Status();
}

// Checks that the new file can get its owner, before the file is encoded needlessly.
Status CommitWork::ClaimOwner() {
  struct stat made = {};
  int error = os().FStat(temp.file.get(), &made);
  if (error == 0 && (made.st_uid != attributes.st_uid || made.st_gid != attributes.st_gid)) {
    error = os().FChangeOwner(temp.file.get(), attributes.st_uid, attributes.st_gid);
  }
  return error < 0
             ? FailErrno(-error, "give the compressed form of " + path() + " its owner and group")
             : Status();
}

Status CommitWork::ClaimPlace(Claim::Kind kind) {
  XZFS_ASSIGN_OR_RETURN(Claim wanted, ClaimOn(os(), kind, stored.get(), temp.file.get()));
  const NodeTable::Location location = parts.tree.nodes().LocationOf(id);
  wanted.dir = parts.zones.PathInZone(location.parent);
  wanted.name = location.stored_name;
  wanted.other = kind == Claim::Kind::kTwin ? CompressedNameOfPlain(wanted.name)
                                            : session->NewId() + std::string(kAsideSuffix);
  XZFS_ASSIGN_OR_RETURN(claim, session->claims().Add(std::move(wanted)));
  return claim.Sync();
}

Status CommitWork::BecomeCompressed(const Overlay* overlay, int made, const std::string& name_now) {
  // As the mount has shown it until now; the stored file was not changed since. A failure to read
  // it must not matter: the new file has its name already.
  struct stat before = attributes;
  const Status shown = parts.tree.ShowAttributes(*node, overlay, &before);
  parts.pending.Forget(id);
  parts.edited.Detach(id, *state);
  state->BecomeCompressed();
  parts.tree.files().Unpin(id);  // of the old stored file
  struct stat st = {};
  if (const int error = os().FStat(made, &st); error < 0) {
    return FailErrno(-error, "stat '" + name_now + "'");
  }
  ShowVersion(st, shown ? before.st_ctim : st.st_ctim, &name_now);
  state->NoteCommitted();
  return {};
}

void CommitWork::ShowVersion(const struct stat& st, const struct timespec& ctime,
                             const std::string* name_now) {
  const KnownFile known = {
      .format = Format::kXz,
      .plain_size = request.plan.size(),
      .file_id = parts.engine.indexes.NewId(),
      .has_giant_blocks = request.plan.largest_piece() > parts.engine.whole_block_bytes};
  const Identity identity_now = Identity::Of(st);
  parts.tree.known().Add(identity_now, Suffix::kXz, known);
  parts.tree.nodes().Update(
      id,
      [&](Node& changed) {
        changed.kind = StoredKind::kCompressed;
        changed.format = Format::kXz;
        changed.identity = identity_now;
        changed.attributes = st;
        changed.kept_ctime = {.left = identity_now, .shown = ctime};
        changed.known = known;
        ++changed.content;
      },
      name_now);
  parts.tree.DropRead(*node);  // of the old base
}

void CommitWork::Count() const {
  Stats& stats = parts.engine.stats;
  stats.commits_done.Add();
  stats.commit_plain_bytes.Add(request.plan.size());
  stats.commit_stored_bytes.Add(written.stored_bytes);
  stats.blocks_encoded.Add(written.blocks_encoded);
  stats.blocks_stored.Add(written.blocks_stored);
  stats.blocks_reused.Add(written.blocks_reused);
}

KeptDirectory::KeptDirectory(const CommitWork& work, NodeId dir, int fd)
    : nodes_(work.parts.tree.nodes()), os_(work.os()), dir_(dir), fd_(fd) {
  struct stat st = {};
  const NodePtr node = nodes_.Find(dir);
  if (node != nullptr && os_.FStat(fd, &st) == 0) {
    shown_ = node->ShownCtime(st);
  }
}

KeptDirectory::~KeptDirectory() {
  struct stat st = {};
  if (shown_ && os_.FStat(fd_, &st) == 0) {
    nodes_.Update(dir_, [&](Node& changed) {
      changed.kept_ctime = {.left = Identity::Of(st), .shown = *shown_};
    });
  }
}

}  // namespace xzfs
