// A temp gets its name by a rename, so it must be made in the same mount of the same file system:
// For keeps a session for each such pair (Reach). It makes one at the first need. The walk upwards
// from the directory goes by descriptors of "..", up to the first `.xzfs` that is ours and
// writable. If there is none before the mount or the device changes, a new one is made in the
// directory that was named, or in the file's own if a rename doesn't come there from the other. In
// an old one, what dead runs left is removed first.
//
// IsBeingEdited looks into every `.xzfs` above, as each may belong to a mount of its own, and there
// at the header of each overlay's log. A log is for one inode, and all are of one device. If a log
// can't be understood it may be of any file, so the answer is yes; if it can't be read the answer
// is an error: nothing is replaced on a guess.
#include "ctl/replace/work_place.h"

#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <string>
#include <utility>

#include "base/try.h"
#include "store/directory_reader.h"
#include "store/home.h"
#include "store/kept_times.h"
#include "store/names.h"
#include "store/overlay_log.h"

namespace xzfs {
namespace {

// The Header of an overlay's log, with some room: it has one text, a boot id.
constexpr size_t kHeaderBytes = 4096;

// Calls `visit` for `dir` and for each directory above it, up to the root of its file system, with
// a descriptor of O_PATH and the directory's facts. `visit` ends the walk by returning true.
Status ForEachAbove(
    Os& os, const OpenDir& dir,
    const std::function<Result<bool>(const Descriptor&, const FileFacts& facts)>& visit) {
  Descriptor at;
  FileFacts facts;
  const struct stat& st = facts.attributes;
  for (ino_t below = 0;; below = st.st_ino) {
    const int from = at.valid() ? at.get() : dir.fd();
    Descriptor next(os, openat(from, at.valid() ? ".." : ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
    const int error = next.valid() ? os.FactsAt(next.get(), "", &facts) : -errno;
    if (error < 0) {
      return FailErrno(-error, "open a directory above " + dir.path);
    }
    if (st.st_dev != dir.attributes.st_dev || st.st_ino == below) {
      return {};
    }
    at = std::move(next);
    XZFS_ASSIGN_OR_RETURN(const bool over, visit(at, facts));
    if (over) {
      return {};
    }
  }
}

// Something that has vanished, or was never a directory, holds nothing.
bool IsNothing(int error) { return error == -ENOENT || error == -ENOTDIR; }

Result<bool> IsOverlayOf(Os& os, int folder, const std::string& name, uint64_t inode) {
  const Descriptor log(os, os.OpenBeneath(folder, name, O_RDONLY));
  std::vector<std::byte> bytes(kHeaderBytes);
  const ssize_t got = log.valid() ? os.PRead(log.get(), bytes, 0) : log.get();
  if (got == 0 || got == -ENOENT) {
    return false;
  }
  if (got < 0) {
    return FailErrno(static_cast<int>(-got), "read " + name);
  }
  bytes.resize(static_cast<size_t>(got));
  const Result<ParsedLog> parsed = ParseLog(bytes);
  const auto* header =
      parsed && !parsed->lines.empty() ? std::get_if<LogHeader>(&parsed->lines[0].record) : nullptr;
  // A log that makes no sense may be of any file.
  return header == nullptr || header->inode == inode;
}

// The lines of the directory `name`; none if there is no such directory.
Result<std::vector<RawLine>> LinesOf(Os& os, int dir, const std::string& name, Descriptor& folder) {
  folder = Descriptor(os, os.OpenBeneath(dir, name, O_RDONLY | O_DIRECTORY));
  if (IsNothing(folder.get())) {
    return std::vector<RawLine>();
  }
  if (!folder.valid()) {
    return FailErrno(-folder.get(), "open " + name);
  }
  return ReadAllLines(os, folder.get());
}

Result<bool> HasOverlayOf(Os& os, int home, uint64_t inode) {
  // The overlays of a copy are of other files.
  XZFS_ASSIGN_OR_RETURN(const Home looked, LookAtAnyHome(os, home));
  if (looked.kind != HomeKind::kOurs) {
    return false;
  }
  Descriptor folder;
  XZFS_ASSIGN_OR_RETURN(const std::vector<RawLine> sessions,
                        LinesOf(os, home, std::string(kPrivateFolder), folder));
  for (const RawLine& line : sessions) {
    if (!IsSessionName(line.name)) {
      continue;
    }
    Descriptor session;
    XZFS_ASSIGN_OR_RETURN(const std::vector<RawLine> files,
                          LinesOf(os, folder.get(), line.name, session));
    for (const RawLine& file : files) {
      if (file.name.ends_with(".log")) {
        XZFS_ASSIGN_OR_RETURN(const bool found, IsOverlayOf(os, session.get(), file.name, inode));
        if (found) {
          return true;
        }
      }
    }
  }
  return false;
}

}  // namespace

std::string PathBelow(int above, int dir) {
  const auto path_of = [](int fd) {
    char path[PATH_MAX];
    const std::string link = "/proc/self/fd/" + std::to_string(fd);
    const ssize_t length = readlink(link.c_str(), path, sizeof path);
    return std::string(path, length < 0 ? 0 : static_cast<size_t>(length));
  };
  const std::string prefix = path_of(above);
  const std::string path = path_of(dir);
  if (path == prefix) {
    return "";
  }
  const bool is_below = prefix == "/" || path.starts_with(prefix + "/");
  // If the path turns out to be wrong, the recovery of a mount searches for the claim's files.
  return path.substr(std::min(path.size(), is_below && prefix != "/" ? prefix.size() + 1 : 1));
}

WorkPlaces::~WorkPlaces() {
  for (auto& [reach, place] : places_) {
    const KeptTimes times(os_, place.home.get());
    place.session->RemoveIfEmpty();
  }
}

Result<Session*> WorkPlaces::For(const OpenDir& dir) {
  XZFS_ASSIGN_OR_RETURN(const Reach reach, ReachOf(dir));
  MutexLock lock(mutex_);
  const auto known = places_.find(reach);
  if (known != places_.end()) {
    return known->second.session.get();
  }
  bool in_root = false;
  if (dir.root != nullptr) {
    XZFS_ASSIGN_OR_RETURN(const Reach of_root, ReachOf(*dir.root));
    in_root = of_root == reach;
  }
  XZFS_ASSIGN_OR_RETURN(Place place, Make(in_root ? *dir.root : dir, reach));
  Session* session = place.session.get();
  places_.emplace(reach, std::move(place));
  return session;
}

Result<WorkPlaces::Reach> WorkPlaces::ReachOf(const OpenDir& dir) {
  FileFacts facts;
  if (const int error = os_.FactsAt(dir.fd(), "", &facts); error < 0) {
    return FailErrno(-error, "stat " + dir.path);
  }
  return Reach{facts.attributes.st_dev, facts.mount_id};
}

Result<WorkPlaces::Place> WorkPlaces::Make(const OpenDir& dir, const Reach& reach) {
  Place place;
  bool has_marker = true;
  // What can't be looked at is no place for us.
  (void)ForEachAbove(
      os_, dir, [&](const Descriptor& above, const FileFacts& facts) -> Result<bool> {
        if (facts.mount_id != reach.second) {
          return true;  // no rename can come from there
        }
        const auto home = LookAtAnyHome(os_, above.get());
        const bool found = home && home->kind == HomeKind::kOurs &&
                           faccessat(above.get(), ".xzfs", R_OK | W_OK | X_OK, AT_EACCESS) == 0;
        if (found) {
          has_marker = HasMarker(os_, home->folder.get());
          place.home =
              Descriptor(os_, openat(above.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        }
        return found;
      });
  if (!place.home.valid()) {
    place.home = Descriptor(os_, openat(dir.fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  } else if (const Status removed = Session::RemoveDeadTemps(os_, place.home.get());
             !removed && removed.error().code != ENOENT) {
    return Failure(removed.error());
  }
  const KeptTimes times(os_, place.home.get());
  auto session =
      Session::Create(os_, place.home.get(),
                      {.top = has_marker ? HomeTop::kBelow : HomeTop::kSourceRoot, .levels = {}});
  if (!session) {
    return Fail(session.error().code, (dir.path.empty() ? "." : dir.path) + ": " +
                                          session.error().message +
                                          ": new files can't be made there");
  }
  place.session = std::move(*session);
  return place;
}

Result<bool> WorkPlaces::IsBeingEdited(const OpenDir& dir, uint64_t inode) {
  bool found = false;
  const Status looked =
      ForEachAbove(os_, dir, [&](const Descriptor& above, const FileFacts&) -> Result<bool> {
        XZFS_ASSIGN_OR_RETURN(found, HasOverlayOf(os_, above.get(), inode));
        return found;
      });
  if (!looked) {
    return Fail(looked.error().code, "can't see whether a mount has uncommitted changes of it: " +
                                         looked.error().message);
  }
  return found;
}

}  // namespace xzfs
