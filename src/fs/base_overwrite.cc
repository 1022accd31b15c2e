// OverwrittenBases keeps the mount's view whole: the file is shown and read as it will be. An
// intent does the same for a crash: from before the first byte is overwritten until all bytes are
// on the disk, the next mount would overwrite them again. The overlay stays until then. It fits the
// old base and the new one: wherever it lets the base through, both have the same bytes, or the new
// one has the bytes that the overlay had when it was encoded.
#include "fs/base_overwrite.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "base/log.h"
#include "base/try.h"
#include "fs/edited_files.h"
#include "store/intents.h"
#include "store/overlay.h"
#include "store/plain_commit.h"

namespace xzfs {

Result<Committer::Outcome> BaseOverwrite::Run() {
  // Step 6.
  XZFS_RETURN_IF_ERROR(ShowNewContent());
  // Steps 7 to 10.
  XZFS_RETURN_IF_ERROR(Fill());
  // Steps 11 and 12.
  return End();
}

Result<Committer::Outcome> BaseOverwrite::Resume(OverwrittenBases::BasePtr base) {
  base_ = std::move(base);
  {
    SharedLock names(parts_.tree.namespace_lock());
    std::string name;
    XZFS_ASSIGN_OR_RETURN(const DescriptorPtr dir, parts_.tree.OpenParent(work_.node, &name));
    XZFS_RETURN_IF_ERROR(OpenBase(dir->descriptor.get(), name));
  }
  XZFS_RETURN_IF_ERROR(Fill());
  return End();
}

// Step 6.
Status BaseOverwrite::ShowNewContent() {
  ExclusiveLock names(parts_.tree.namespace_lock());
  FileLock lock(*work_.state);
  std::string name;
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr dir, parts_.tree.OpenParent(work_.node, &name));
  const int fd = dir->descriptor.get();
  XZFS_ASSIGN_OR_RETURN(const bool is_current, IsCurrent(work_.os(), fd, name, work_.identity));
  if (work_.job->cancelled || !is_current) {
    return Fail(ESTALE, "'" + name + "' was changed while it was compressed");
  }
  XZFS_RETURN_IF_ERROR(OpenBase(fd, name));
  OverwrittenBase base;
  struct stat made = {};
  int error = work_.os().FStat(file_.get(), &base.shown);
  error = error < 0 ? error : work_.os().FStat(work_.temp.file.get(), &made);
  if (error < 0) {
    return FailErrno(-error, "stat a compressed file");
  }
  const struct timespec ctime = work_.node->ShownCtime(base.shown);
  base.shown.st_size = made.st_size;
  base.shown.st_mtim = made.st_mtim;
  base.new_content = std::make_shared<SharedDescriptor>(std::move(work_.temp.file));
  base.new_name = std::exchange(work_.temp.name, {});
  base.session = work_.session;
  parts_.tree.overwritten().Add(base);
  base_ = parts_.tree.overwritten().Find(FileId::Of(base.shown));
  work_.ShowVersion(base.shown, ctime, nullptr);
  return {};
}

Status BaseOverwrite::OpenBase(int dir, const std::string& name) {
  const int fd = work_.os().OpenBeneath(dir, name, O_RDWR | O_NONBLOCK);
  if (fd < 0) {
    return FailErrno(-fd, "open '" + name + "' to overwrite it");
  }
  file_ = Descriptor(work_.os(), fd);
  struct stat st = {};
  if (const int error = work_.os().FStat(fd, &st); error < 0) {
    return FailErrno(-error, "stat '" + name + "'");
  }
  return FileId::Of(st) == FileId::Of(work_.node->identity)
             ? Status()
             : Fail(ESTALE, "'" + name + "' was replaced while it was compressed");
}

// Steps 7 to 10.
Status BaseOverwrite::Fill() {
  Session& session = *base_->session;
  const std::string path =
      parts_.tree.nodes().PathBelow(work_.id, work_.zone->top).value_or(std::string());
  // Step 7.
  const Result<std::string> intent =
      !base_->intent.empty()
          ? base_->intent
          : session.WriteIntent({{IntentStep::Kind::kOverwrite, base_->shown.st_ino,
                                  base_->new_name, path, overlay_->base().birth_ns}});
  bool begun = false;
  // Steps 8 and 9.
  Status filled = intent ? OverwriteFile(work_.os(), base_->new_content->descriptor.get(),
                                         file_.get(), work_.path(), begun)
                         : Status(Failure(intent.error()));
  if (!filled && (begun || !base_->intent.empty())) {
    OverwrittenBase half_done = *base_;
    half_done.intent = *intent;
    parts_.tree.overwritten().Add(std::move(half_done));
    return Fail(filled.error().code,
                filled.error().message +
                    "; its stored file is half overwritten until the commit is "
                    "tried again or the next mount completes it");
  }
  // Step 10.
  if (intent) {
    session.Unlink(*intent);
  }
  session.Unlink(base_->new_name);
  if (const int error = work_.os().Sync(session.folder()); error < 0) {
    Log(LogLevel::kWarning, "sync of .xzfs/" + session.name() + " failed");
  }
  if (!filled) {
    ShowOldContent();
  }
  return filled;
}

// No byte of the base was overwritten, and none will be.
void BaseOverwrite::ShowOldContent() {
  ExclusiveLock names(parts_.tree.namespace_lock());
  FileLock lock(*work_.state);
  parts_.tree.overwritten().Remove(FileId::Of(base_->shown));
  const NodePtr shown = parts_.tree.nodes().Find(work_.id);
  struct stat st = {};
  if (shown == nullptr || work_.os().FStat(file_.get(), &st) < 0 ||
      !NodeTree::HasContentOf(*work_.node, st)) {
    return;  // it is another version now: the next lookup sees that
  }
  parts_.tree.nodes().Update(work_.id, [&](Node& changed) {
    changed.identity = Identity::Of(st);  // the overwrite has moved its ctime
    changed.attributes = st;
    changed.kept_ctime = {.left = changed.identity, .shown = shown->ShownCtime(base_->shown)};
    changed.known = work_.node->known;
    ++changed.content;
  });
  if (work_.node->known) {
    parts_.tree.known().Add(Identity::Of(st), Suffix::kXz, *work_.node->known);
  }
  parts_.tree.DropRead(*shown);
}

// Steps 11 and 12.
Result<Committer::Outcome> BaseOverwrite::End() {
  {
    ExclusiveLock names(parts_.tree.namespace_lock());
    FileLock lock(*work_.state);
    const NodePtr shown = parts_.tree.nodes().Find(work_.id);
    struct stat st = {};
    if (const int error = work_.os().FStat(file_.get(), &st); error < 0) {
      return FailErrno(-error, "stat " + work_.path());
    }
    struct stat before = base_->shown;
    const bool is_known = parts_.tree.ShowAttributes(*shown, overlay_.get(), &before).has_value();
    parts_.tree.overwritten().Remove(FileId::Of(base_->shown));
    XZFS_RETURN_IF_ERROR(
        parts_.tree.RefreshFrom(shown, st, parts_.tree.nodes().LocationOf(work_.id).stored_name));
    if (is_known) {
      parts_.tree.nodes().Update(work_.id, [&](Node& changed) {
        changed.kept_ctime = {.left = changed.identity, .shown = before.st_ctim};
      });
    }
    if (work_.job->cancelled || work_.state->is_changing() ||
        overlay_->notes().has_changed_since_publishing) {
      overlay_->RebaseOnPublished();
      return Committer::Outcome::kCancelled;
    }
    parts_.pending.Forget(work_.id);
    parts_.edited.Detach(work_.id, *work_.state);
    work_.state->BecomeCompressed();
    parts_.tree.files().Unpin(work_.id);
    work_.state->NoteCommitted();
  }
  if (const Status removed = overlay_->Remove(); !removed) {
    Log(LogLevel::kWarning, removed.error().message);
  }
  return Committer::Outcome::kDone;
}

}  // namespace xzfs
