#include "ctl/work_place.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <string>
#include <utility>

#include "store/directory_reader.h"
#include "store/kept_times.h"
#include "store/names.h"
#include "store/overlay_log.h"

namespace xzfs {
namespace {

// The Header of an overlay's log, with some room: it has one text, a boot id.
constexpr size_t kHeaderBytes = 4096;

// `dir` and the directories above it, up to the root of its file system. Calls `visit` for each;
// it ends the walk by returning true.
void ForEachAbove(Os& os, const OpenDir& dir, const std::function<bool(Descriptor&)>& visit) {
  Descriptor at(os, openat(dir.fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat st = dir.attributes;
  while (at.valid() && st.st_dev == dir.attributes.st_dev && !visit(at)) {
    Descriptor above(os, openat(at.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const ino_t inode = st.st_ino;
    if (!above.valid() || os.FStat(above.get(), &st) < 0 || st.st_ino == inode) {
      return;
    }
    at = std::move(above);
  }
}

bool IsOverlayOf(Os& os, int folder, const std::string& name, uint64_t inode) {
  const Descriptor log(os, os.OpenBeneath(folder, name, O_RDONLY));
  std::vector<std::byte> bytes(kHeaderBytes);
  const ssize_t got = log.valid() ? os.PRead(log.get(), bytes, 0) : -1;
  if (got <= 0) {
    return false;
  }
  bytes.resize(static_cast<size_t>(got));
  const Result<ParsedLog> parsed = ParseLog(bytes);
  const auto* header =
      parsed && !parsed->lines.empty() ? std::get_if<LogHeader>(&parsed->lines[0].record) : nullptr;
  // One that can't be read may be of any file.
  return header == nullptr || header->inode == inode;
}

bool HasOverlayOf(Os& os, int home, uint64_t inode) {
  const Descriptor folder(
      os, os.OpenBeneath(home, std::string(kPrivateFolder), O_RDONLY | O_DIRECTORY));
  const auto sessions =
      folder.valid() ? ReadAllLines(os, folder.get()) : Result<std::vector<RawLine>>();
  for (const RawLine& line : sessions ? *sessions : std::vector<RawLine>()) {
    const Descriptor session(os, os.OpenBeneath(folder.get(), line.name, O_RDONLY | O_DIRECTORY));
    const auto files =
        session.valid() ? ReadAllLines(os, session.get()) : Result<std::vector<RawLine>>();
    if (files && line.name != "lost+found" &&
        std::any_of(files->begin(), files->end(), [&](const RawLine& file) {
          return file.name.ends_with(".log") && IsOverlayOf(os, session.get(), file.name, inode);
        })) {
      return true;
    }
  }
  return false;
}

}  // namespace

WorkPlaces::~WorkPlaces() {
  for (auto& [device, place] : places_) {
    const KeptTimes times(os_, place.home.get());
    place.session->RemoveIfEmpty();
  }
}

Result<Session*> WorkPlaces::For(const OpenDir& dir) {
  MutexLock lock(mutex_);
  const auto known = places_.find(dir.attributes.st_dev);
  if (known != places_.end()) {
    return known->second.session.get();
  }
  if (IsInMount(dir)) {
    return Fail(EINVAL, dir.path +
                            " is in a mount of xzfs, which compresses what is written to it: name "
                            "the source directory");
  }
  const bool in_root = dir.root != nullptr && dir.root->attributes.st_dev == dir.attributes.st_dev;
  XZFS_ASSIGN_OR_RETURN(Place place, Make(in_root ? *dir.root : dir));
  Session* session = place.session.get();
  places_.emplace(dir.attributes.st_dev, std::move(place));
  return session;
}

Result<WorkPlaces::Place> WorkPlaces::Make(const OpenDir& dir) {
  Place place;
  ForEachAbove(os_, dir, [&](Descriptor& above) {
    struct stat st = {};
    const bool found = os_.StatAt(above.get(), std::string(kPrivateFolder), &st) == 0 &&
                       S_ISDIR(st.st_mode) &&
                       faccessat(above.get(), ".xzfs", R_OK | W_OK | X_OK, AT_EACCESS) == 0;
    if (found) {
      place.home = std::move(above);
    }
    return found;
  });
  if (!place.home.valid()) {
    place.home = Descriptor(os_, openat(dir.fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  } else if (const Status removed = Session::RemoveDeadTemps(os_, place.home.get());
             !removed && removed.error().code != ENOENT) {
    return tl::unexpected(removed.error());
  }
  const KeptTimes times(os_, place.home.get());
  auto session = Session::Create(os_, place.home.get());
  if (!session) {
    return Fail(session.error().code, (dir.path.empty() ? "." : dir.path) + ": " +
                                          session.error().message +
                                          ": new files can't be made there");
  }
  place.session = std::move(*session);
  return place;
}

bool WorkPlaces::IsBeingEdited(const OpenDir& dir, uint64_t inode) {
  bool found = false;
  ForEachAbove(os_, dir, [&](const Descriptor& above) {
    found = HasOverlayOf(os_, above.get(), inode);
    return found;
  });
  return found;
}

bool IsInMount(const OpenDir& dir) {
  struct statfs fs = {};
  return fstatfs(dir.fd(), &fs) == 0 && fs.f_type == FUSE_SUPER_MAGIC &&
         fgetxattr(dir.fd(), "user.xzfs.info", nullptr, 0) > 0;
}

}  // namespace xzfs
