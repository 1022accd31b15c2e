// An intent has no record of how far its operation came: the source says it. A file that is under
// its old name was not moved. So CompleteIntent looks at each step in turn. If the first one was
// not taken nothing was, and it leaves all as it is. From the first step that was taken on, it
// takes each one that is missing. It looks before each step, so it may be cut off and run again.
//
// The disk is assumed to keep the order of the steps. After a power cut there are three exceptions.
// A file may have both names of a rename (EndHalfRename). The second rename of an exchange may be
// there without the first (IsBegunBySecond). A rename may be lost, and an earlier file be there
// again (PutEarlierAside). Each of these functions acts only where the files can't be later work of
// a user.
//
// An overwrite may have copied a part of the bytes. So it is done again as a whole, as long as the
// temp with the new bytes is there.
#include "store/intents.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>

#include <cerrno>
#include <optional>
#include <tuple>

#include "base/try.h"
#include "store/directory_reader.h"
#include "store/settle_claims.h"
#include "store/xz_writer.h"

namespace xzfs {
namespace {

// A path of the source, with its directory open.
struct Target {
  Descriptor dir;
  std::string name;
  std::optional<FileFacts> facts;  // nothing: there is no file

  bool Is(const IntentStep& step) const { return facts && step.IsOf(*facts); }
};

Result<Target> Find(Os& os, int source, const std::string& path) {
  const auto [dir_path, name] = SplitPath(path);
  Target target;
  XZFS_ASSIGN_OR_RETURN(target.dir, OpenDirectoryAt(os, source, dir_path));
  target.name = name;
  FileFacts facts;
  const int error = os.FactsAt(target.dir.get(), name, &facts);
  if (error < 0 && error != -ENOENT) {
    return FailErrno(-error, "stat " + path);
  }
  if (error == 0) {
    target.facts = facts;
  }
  return target;
}

Status CompleteOverwrite(Os& os, int source, Session& session, const IntentStep& step) {
  const int fd = os.OpenBeneath(session.folder(), step.from, O_RDONLY);
  if (fd == -ENOENT) {
    return {};  // it has been done
  }
  if (fd < 0) {
    return FailErrno(-fd, "open .xzfs/" + session.name() + "/" + step.from);
  }
  const Descriptor from(os, fd);
  XZFS_ASSIGN_OR_RETURN(const Target to, Find(os, source, step.to));
  if (!to.Is(step)) {
    return Fail(ESTALE, step.to + " isn't the file that was being overwritten; its new bytes are " +
                            ".xzfs/" + session.name() + "/" + step.from);
  }
  const int base = os.OpenBeneath(to.dir.get(), to.name, O_RDWR | O_NONBLOCK);
  if (base < 0) {
    return FailErrno(-base, "open " + step.to + " to overwrite it");
  }
  const Descriptor open(os, base);
  bool begun = false;
  return OverwriteFile(os, fd, base, to.name, begun);
}

// If some program synced only the new directory, the disk may have the new name of a file, but not
// the removal of the old name in another directory; btrfs does so. Then the file has both names,
// and this removes the old one, which something else may rightly have got since then. (If the next
// step was a removal that was done, the user may have made the second name later: it stays.)
Status EndHalfRename(Os& os, int source, const IntentStep& first, const IntentStep& next) {
  const auto from = Find(os, source, first.from);
  const auto to = Find(os, source, first.to);
  if (!from || !to || !from->Is(first) || !to->Is(first)) {
    return {};
  }
  const auto is_at = [&](const std::string& path) {
    const auto found = Find(os, source, path);
    return found && found->Is(next);
  };
  if (!is_at(next.from) && (next.kind != IntentStep::Kind::kRename || !is_at(next.to))) {
    return {};
  }
  int error = os.Sync(to->dir.get());
  error = error < 0 ? error : os.Unlink(from->dir.get(), from->name, 0);
  error = error < 0 ? error : os.Sync(from->dir.get());
  return error < 0 ? FailErrno(-error, "end a rename of " + first.from) : Status();
}

// The disk may have only the second rename of an exchange. Then the first one must still be done,
// unless something else has got the name since then.
bool IsBegunBySecond(Os& os, int source, const IntentStep& first, const IntentStep& second) {
  if (first.kind != IntentStep::Kind::kRename || second.kind != IntentStep::Kind::kRename) {
    return false;
  }
  const auto free = Find(os, source, first.to);
  const auto from = Find(os, source, second.from);
  const auto to = Find(os, source, second.to);
  return free && from && to && !free->facts && !from->Is(second) && to->Is(second);
}

bool IsLater(const struct timespec& a, const struct timespec& b) {
  return std::tie(a.tv_sec, a.tv_nsec) > std::tie(b.tv_sec, b.tv_nsec);
}

// The file that was to be removed may have taken the name of an earlier file by a rename that the
// disk has lost; btrfs may lose a rename and keep later ones. Then the earlier file is there again,
// and would be shown beside the new one. Its ctime is not later than the intent. A file that
// somebody has put there since then has a later ctime, and stays.
Status PutEarlierAside(Os& os, int source, Session& session, const IntentStep& removal,
                       const struct timespec& written) {
  const auto there = Find(os, source, removal.from);
  if (!there || !there->facts || there->Is(removal) || !S_ISREG(there->facts->attributes.st_mode) ||
      IsLater(there->facts->attributes.st_ctim, written)) {
    return {};
  }
  const std::string aside = session.NewId() + std::string(kAsideSuffix);
  const int error = RenameOverNothing(os, there->dir.get(), there->name, session.folder(), aside);
  if (error < 0) {
    return FailErrno(-error, "put aside an earlier " + removal.from);
  }
  return KeepInLostAndFound(os, session, aside,
                            "An earlier " + removal.from +
                                ", which a power cut gave its name back although another file had "
                                "replaced it");
}

// Returns whether the step is done now. `is_begun`: the step must be done if it isn't yet.
Result<bool> Complete(Os& os, int source, const IntentStep& step, bool is_begun) {
  auto from = Find(os, source, step.from);
  const bool there = from && from->Is(step);
  if (!there) {
    if (is_begun || step.kind == IntentStep::Kind::kUnlink) {
      return true;
    }
    // Another file may have taken the new name later.
    const auto to = Find(os, source, step.to);
    return to && to->facts;
  }
  if (!is_begun) {
    return false;
  }
  int error = 0;
  if (step.kind == IntentStep::Kind::kUnlink) {
    error = os.Unlink(from->dir.get(), from->name, 0);
  } else {
    XZFS_ASSIGN_OR_RETURN(const Target to, Find(os, source, step.to));
    error = to.Is(step)  // only the old name must still be removed
                ? os.Unlink(from->dir.get(), from->name, 0)
                : RenameOverNothing(os, from->dir.get(), from->name, to.dir.get(), to.name);
    os.Sync(to.dir.get());
  }
  if (error < 0) {
    return FailErrno(-error, "complete a rename of " + step.from);
  }
  os.Sync(from->dir.get());
  return true;
}

}  // namespace

int RenameOverNothing(Os& os, int from_dir, const std::string& from, int to_dir,
                      const std::string& to) {
  int error = os.Rename(from_dir, from, to_dir, to, RENAME_NOREPLACE);
  if (error == -EINVAL || error == -ENOSYS) {
    struct stat st = {};
    error = os.StatAt(to_dir, to, &st);
    error = error == -ENOENT ? os.Rename(from_dir, from, to_dir, to, 0)
                             : (error == 0 ? -EEXIST : error);
  }
  return error;
}

Status CompleteIntent(Os& os, int source, Session& session, const Intent& intent) {
  const std::vector<IntentStep>& steps = intent.steps;
  if (steps.size() > 1 && steps[0].kind == IntentStep::Kind::kRename) {
    XZFS_RETURN_IF_ERROR(EndHalfRename(os, source, steps[0], steps[1]));
  }
  bool is_begun = steps.size() > 1 && IsBegunBySecond(os, source, steps[0], steps[1]);
  for (const IntentStep& step : steps) {
    if (step.kind == IntentStep::Kind::kOverwrite) {
      XZFS_RETURN_IF_ERROR(CompleteOverwrite(os, source, session, step));
      continue;
    }
    XZFS_ASSIGN_OR_RETURN(const bool done, Complete(os, source, step, is_begun));
    if (!done) {
      return {};
    }
    if (is_begun && step.kind == IntentStep::Kind::kUnlink) {
      XZFS_RETURN_IF_ERROR(PutEarlierAside(os, source, session, step, intent.written));
    }
    is_begun = true;
  }
  return {};
}

Status OverwriteFile(Os& os, int from, int to, const std::string& name, bool& begun) {
  struct stat st = {};
  struct stat before = {};
  int error = os.FStat(from, &st);
  error = error < 0 ? error : os.FStat(to, &before);
  if (error < 0) {
    return FailErrno(-error, "stat a compressed file");
  }
  const auto size = static_cast<uint64_t>(st.st_size);
  // If the disk is full, this fails before anything is overwritten.
  error = os.Allocate(to, FALLOC_FL_KEEP_SIZE, 0, size);
  if (error < 0 && error != -EOPNOTSUPP) {
    // That has changed the mtime nevertheless, and an overlay knows its base by it.
    const struct timespec unmoved[2] = {before.st_atim, before.st_mtim};
    os.FSetTimes(to, unmoved);
    return FailErrno(-error, "make room to overwrite '" + name + "'");
  }
  begun = true;
  XZFS_RETURN_IF_ERROR(CopyRange(os, from, 0, to, 0, size));
  const struct timespec times[2] = {st.st_atim, st.st_mtim};
  error = os.Truncate(to, size);
  if (error == 0) {
    error = os.FSetTimes(to, times);
  }
  if (error == 0) {
    error = os.Sync(to);
  }
  return error < 0 ? FailErrno(-error, "overwrite '" + name + "'") : Status();
}

}  // namespace xzfs
