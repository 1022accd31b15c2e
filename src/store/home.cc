// KindOf decides whether a folder `.xzfs` is ours, a copy or the user's, by the rules of
// docs/format.md, "The marker". IsRemnant recognizes what a crash left while the folder was made or
// removed.
//
// MakeHome makes the folder, syncs the directory above, takes the lock and writes the marker, under
// another name that it then changes. So a crash leaves a remnant or a whole marker.
// RemoveUnusedHome takes the same way back: marker, lock, folder.
//
// The lock's file is removed with the folder. A process that waits for the lock sees that the file
// was removed, and begins again. A process that makes a new lock in the meantime finds no marker,
// and the folder stays.
//
// FileAbove and FindSourceAbove call openat themselves, since Os opens nothing above a directory.
#include "store/home.h"

#include <fcntl.h>
#include <linux/limits.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <climits>
#include <cstdio>
#include <random>
#include <span>

#include "base/log.h"
#include "base/try.h"
#include "store/directory_reader.h"
#include "store/names.h"
#include "xzfs/byte_string.h"

namespace xzfs {
namespace {

constexpr const char* kMarkerName = "marker";
constexpr const char* kNewMarkerName = "marker.new";
// A marker has about 100 bytes; a session's lock holds a number.
constexpr size_t kMostTextBytes = 4096;
// Directories are not nested deeper in practice, and the walk upwards ends at the root anyway.
constexpr unsigned kMostLevels = 100'000;

Status SyncFolder(Os& os, int fd) {
  const int error = os.Sync(fd);
  return error < 0 ? FailErrno(-error, "sync a folder of .xzfs") : Status();
}

Result<std::string> ReadText(Os& os, int dir, const std::string& name) {
  const Descriptor file(os, os.OpenBeneath(dir, name, O_RDONLY | O_NONBLOCK));
  if (!file.valid()) {
    return FailErrno(-file.get(), "open .xzfs/" + name);
  }
  std::string text(kMostTextBytes, '\0');
  const ssize_t got =
      os.PRead(file.get(), std::as_writable_bytes(std::span(text.data(), text.size())), 0);
  if (got < 0) {
    return FailErrno(static_cast<int>(-got), "read .xzfs/" + name);
  }
  text.resize(static_cast<size_t>(got));
  return text;
}

// The folder that a marker was written for. What it doesn't say is 0.
struct Marked {
  uint64_t inode = 0;
  int64_t birth_ns = 0;
};

Result<Marked> FolderNow(Os& os, int home) {
  FileFacts facts;
  if (const int error = os.FactsAt(home, "", &facts); error < 0) {
    return FailErrno(-error, "stat .xzfs");
  }
  if (os.IsRemote(home)) {
    return Marked{};
  }
  return Marked{facts.attributes.st_ino, facts.birth_ns};
}

std::optional<Marked> ParseMarker(const std::string& text) {
  Marked marked;
  const size_t line = text.find("\nfolder ");
  if (!text.starts_with("xzfs ") || line == std::string::npos ||
      sscanf(text.c_str() + line + 1, "folder %" SCNu64 " %" SCNd64, &marked.inode,
             &marked.birth_ns) != 2) {
    return std::nullopt;
  }
  return marked;
}

bool IsSame(const Marked& a, const Marked& b) {
  return (a.inode == 0 || b.inode == 0 || a.inode == b.inode) &&
         (a.birth_ns == 0 || b.birth_ns == 0 || a.birth_ns == b.birth_ns);
}

// The marker that we write for this folder.
bool LooksMadeByUs(Os& os, int home) {
  struct stat st = {};
  return os.FStat(home, &st) == 0 && (st.st_mode & 07777) == kPrivateFolderMode &&
         st.st_uid == geteuid();
}

// A process that was making or removing it may have left this: only the lock, or nothing.
bool IsRemnant(Os& os, int home) {
  const auto lines = ReadAllLines(os, home);
  return lines && std::all_of(lines->begin(), lines->end(), [&](const RawLine& line) {
           struct stat st = {};
           return line.name == kNewMarkerName ||
                  (line.name == kLockName && os.StatAt(home, line.name, &st) == 0 &&
                   st.st_size == 0);
         });
}

Result<HomeKind> KindOf(Os& os, int home, HomeTop top_kind) {
  const auto text = ReadText(os, home, kMarkerName);
  if (!text && text.error().code != ENOENT) {
    return Failure(text.error());
  }
  if (!text) {
    // In the root that name was always ours.
    return top_kind == HomeTop::kSourceRoot || (LooksMadeByUs(os, home) && IsRemnant(os, home))
               ? HomeKind::kOurs
               : HomeKind::kUsers;
  }
  const auto marked = ParseMarker(*text);
  XZFS_ASSIGN_OR_RETURN(const Marked now, FolderNow(os, home));
  return !marked || IsSame(*marked, now) ? HomeKind::kOurs : HomeKind::kCopy;
}

std::string NewMarkerId() {
  std::random_device random;
  char id[40];
  snprintf(id, sizeof id, "%08x%08x%08x%08x", random(), random(), random(), random());
  return id;
}

Status WriteMarker(Os& os, int home) {
  XZFS_ASSIGN_OR_RETURN(const Marked now, FolderNow(os, home));
  const std::string text = "xzfs 1\nid " + NewMarkerId() + "\nfolder " + std::to_string(now.inode) +
                           " " + std::to_string(now.birth_ns) + "\n";
  const Descriptor file(
      os, os.OpenBeneath(home, kNewMarkerName, O_RDWR | O_CREAT | O_TRUNC, kPrivateFileMode));
  int error = file.get();
  if (file.valid()) {
    const ssize_t put = os.PWrite(file.get(), BytesOf(text), 0);
    error = put < 0 ? static_cast<int>(put) : (put < static_cast<ssize_t>(text.size()) ? -EIO : 0);
  }
  error = error < 0 ? error : os.Sync(file.get());
  error = error < 0 ? error : os.Rename(home, kNewMarkerName, home, kMarkerName, 0);
  if (error < 0) {
    os.Unlink(home, kNewMarkerName, 0);
    return FailErrno(-error, "write .xzfs/marker");
  }
  return SyncFolder(os, home);
}

// Moves the sessions of a copy to lost+found, where no mount adopts them. REQUIRES: the home's lock
// is held.
Status TakeOver(Os& os, int home) {
  const int made = os.MakeDir(home, kLostAndFound, kPrivateFolderMode);
  if (made < 0 && made != -EEXIST) {
    return FailErrno(-made, "make .xzfs/lost+found");
  }
  const Descriptor lost(os, os.OpenBeneath(home, kLostAndFound, O_RDONLY | O_DIRECTORY));
  if (!lost.valid()) {
    return FailErrno(-lost.get(), "open .xzfs/lost+found");
  }
  XZFS_ASSIGN_OR_RETURN(const std::vector<RawLine> lines, ReadAllLines(os, home));
  for (const RawLine& line : lines) {
    if (!IsSessionName(line.name)) {
      continue;
    }
    const int error = os.Rename(home, line.name, lost.get(), line.name, 0);
    if (error < 0 && error != -ENOENT) {
      return FailErrno(-error, "move .xzfs/" + line.name + " to lost+found");
    }
  }
  os.Unlink(home, "cold", 0);
  return SyncFolder(os, lost.get());
}

// To be called before anything is made in it, even the lock.
Status RequireNotUsers(Os& os, int home, HomeTop top_kind) {
  if (top_kind != HomeTop::kSourceRoot && !HasMarker(os, home) && !IsRemnant(os, home)) {
    return Fail(EEXIST, "there is a folder .xzfs that does not belong to xzfs");
  }
  return {};
}

// REQUIRES: the home's lock is held.
Status MakeOurs(Os& os, int home, HomeTop top_kind) {
  XZFS_RETURN_IF_ERROR(RequireNotUsers(os, home, top_kind));
  if (HasMarker(os, home)) {
    XZFS_ASSIGN_OR_RETURN(const HomeKind kind, KindOf(os, home, top_kind));
    if (kind == HomeKind::kOurs) {
      return {};
    }
    XZFS_RETURN_IF_ERROR(TakeOver(os, home));
  }
  return WriteMarker(os, home);
}

// Our folder must not inherit the source's default ACL: its files later take the place of the
// user's files.
void DropAcls(Os& os, int dir, const std::string& folder) {
  os.RemoveXattrAt(dir, folder, "system.posix_acl_default");
  os.RemoveXattrAt(dir, folder, "system.posix_acl_access");
}

}  // namespace

bool HasMarker(Os& os, int home) {
  struct stat st = {};
  return os.StatAt(home, kMarkerName, &st) == 0;
}

bool IsSessionName(const std::string& name) {
  return name != kLockName && name != kMarkerName && name != kNewMarkerName &&
         name != kLostAndFound && name != "cold" && name != "index";
}

Result<Home> LookAtHome(Os& os, int top, HomeTop top_kind) {
  const std::string name(kPrivateFolder);
  struct stat st = {};
  const int error = os.StatAt(top, name, &st);
  if (error == -ENOENT || error == -ENOTDIR || error == -EACCES) {
    return Home{};
  }
  if (error < 0) {
    return FailErrno(-error, "stat .xzfs");
  }
  if (!S_ISDIR(st.st_mode)) {
    return Home{HomeKind::kUsers, {}};
  }
  const int fd = os.OpenBeneath(top, name, O_RDONLY | O_DIRECTORY);
  if (fd == -ENOENT) {
    return Home{};
  }
  if (fd == -EACCES) {
    // A folder that only its owner may look into: most likely another user's mount made it.
    return Home{HomeKind::kOurs, {}};
  }
  if (fd < 0) {
    return FailErrno(-fd, "open .xzfs");
  }
  Home home{HomeKind::kOurs, Descriptor(os, fd)};
  XZFS_ASSIGN_OR_RETURN(home.kind, KindOf(os, fd, top_kind));
  return home;
}

Result<Home> LookAtAnyHome(Os& os, int dir) {
  XZFS_ASSIGN_OR_RETURN(Home home, LookAtHome(os, dir, HomeTop::kBelow));
  struct stat st = {};
  const Descriptor folder(
      os, home.kind == HomeKind::kUsers
              ? os.OpenBeneath(dir, std::string(kPrivateFolder), O_RDONLY | O_DIRECTORY)
              : -1);
  if (folder.valid() && os.StatAt(folder.get(), kLockName, &st) == 0) {
    return LookAtHome(os, dir, HomeTop::kSourceRoot);
  }
  return home;
}

Result<Descriptor> OpenHome(Os& os, int top) {
  const int fd = os.OpenBeneath(top, std::string(kPrivateFolder), O_RDONLY | O_DIRECTORY);
  if (fd < 0) {
    return FailErrno(-fd, "open .xzfs in the source");
  }
  return Descriptor(os, fd);
}

Result<Descriptor> MakeHome(Os& os, int top, HomeTop top_kind) {
  const std::string name(kPrivateFolder);
  const int made = os.MakeDir(top, name, kPrivateFolderMode);
  if (made < 0 && made != -EEXIST) {
    return FailErrno(-made, "make the folder .xzfs in the source");
  }
  if (made == 0) {
    DropAcls(os, top, name);
    XZFS_RETURN_IF_ERROR(SyncFolder(os, top));
  }
  XZFS_ASSIGN_OR_RETURN(Descriptor home, OpenHome(os, top));
  XZFS_RETURN_IF_ERROR(RequireNotUsers(os, home.get(), top_kind));
  XZFS_ASSIGN_OR_RETURN(const Descriptor guard, LockHome(os, home.get()));
  XZFS_RETURN_IF_ERROR(MakeOurs(os, home.get(), top_kind));
  return home;
}

Result<Descriptor> LockHome(Os& os, int home) {
  int fd = os.OpenBeneath(home, kLockName, O_RDWR | O_CREAT, kPrivateFileMode);
  if (fd == -EROFS) {
    fd = os.OpenBeneath(home, kLockName, O_RDONLY);
  }
  if (fd < 0) {
    return FailErrno(-fd, "open .xzfs/lock");
  }
  Descriptor lock(os, fd);
  if (const int error = os.Lock(fd); error < 0) {
    return FailErrno(-error, "lock .xzfs/lock");
  }
  struct stat st = {};
  if (os.FStat(fd, &st) == 0 && st.st_nlink == 0) {
    return Fail(ENOENT, "the folder .xzfs was just removed");
  }
  return lock;
}

void RemoveUnusedHome(Os& os, int top, int home) {
  const auto lines = ReadAllLines(os, home);
  if (!lines) {
    return;
  }
  bool is_unused = true;
  for (const RawLine& line : *lines) {
    if (line.name == kNewMarkerName) {
      os.Unlink(home, kNewMarkerName, 0);  // a power cut may have left it beside a whole marker
    } else if (line.name != kLockName && line.name != kMarkerName) {
      is_unused = false;
    }
  }
  if (is_unused) {
    os.Unlink(home, kMarkerName, 0);
    os.Unlink(home, kLockName, 0);
    os.Unlink(top, std::string(kPrivateFolder), AT_REMOVEDIR);
  }
}

std::vector<LivingSession> FindLivingSessions(Os& os, int home) {
  std::vector<LivingSession> living;
  const auto guard = LockHome(os, home);
  const auto lines = guard ? ReadAllLines(os, home) : Result<std::vector<RawLine>>();
  for (const RawLine& line : lines.value_or(std::vector<RawLine>())) {
    if (!IsSessionName(line.name)) {
      continue;
    }
    const Descriptor folder(os, os.OpenBeneath(home, line.name, O_RDONLY | O_DIRECTORY));
    const Descriptor lock(
        os, folder.valid() ? os.OpenBeneath(folder.get(), kLockName, O_RDONLY) : folder.get());
    struct stat st = {};
    if (!lock.valid() || os.FStat(folder.get(), &st) < 0 ||
        os.TryLock(lock.get()) != -EWOULDBLOCK) {
      continue;
    }
    LivingSession session{line.name, FileId::Of(st), std::nullopt};
    unsigned levels = 0;
    if (const auto text = ReadText(os, folder.get(), kLockName);
        text && sscanf(text->c_str(), "%u", &levels) == 1) {
      session.levels = levels;
    }
    living.push_back(std::move(session));
  }
  return living;
}

Result<FileId> FileAbove(Os& os, int dir, unsigned levels) {
  Descriptor at(os, openat(dir, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  for (unsigned i = 0; i < std::min(levels, kMostLevels) && at.valid(); ++i) {
    at = Descriptor(os, openat(at.get(), "..", O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  struct stat st = {};
  const int error = at.valid() ? os.FStat(at.get(), &st) : -errno;
  return error < 0 ? Result<FileId>(FailErrno(-error, "stat a directory above")) : FileId::Of(st);
}

std::optional<std::string> FindSourceAbove(Os& os, int source) {
  Descriptor at(os, openat(source, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  FileId below;
  for (unsigned up = 0; at.valid() && up < kMostLevels; ++up) {
    struct stat st = {};
    if (os.FStat(at.get(), &st) < 0 || (up != 0 && FileId::Of(st) == below)) {
      break;  // the root of the file system
    }
    below = FileId::Of(st);
    const auto home = LookAtHome(os, at.get(), HomeTop::kBelow);
    if (home && home->kind == HomeKind::kOurs && home->folder.valid()) {
      for (const LivingSession& session : FindLivingSessions(os, home->folder.get())) {
        if (session.levels && *session.levels + up != 0) {
          char path[PATH_MAX] = {};
          const std::string link = "/proc/self/fd/" + std::to_string(at.get());
          const ssize_t length = readlink(link.c_str(), path, sizeof path - 1);
          return length > 0 ? std::string(path, static_cast<size_t>(length)) : std::string("..");
        }
      }
    }
    at = Descriptor(os, openat(at.get(), "..", O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  return std::nullopt;
}

}  // namespace xzfs
