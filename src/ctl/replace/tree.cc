// A walk in depth, with a stack of directories that are still to be visited. Each one is opened by
// its name in the open parent, without following symlinks. So a rename during the walk can't lead
// it out of the tree. A directory that waits holds its parent open: that is a descriptor for each
// level.
//
// A directory is read as a whole and sorted. Its files are visited at once; its sub-directories go
// on the stack, the first one last, so that it is taken next. What vanishes before it is looked at
// is no error.
//
// A mount of xzfs can only begin at the directory that was named or where the device changes, so
// the walk looks there only. For a command that works on stored files it is an error. A folder
// `.xzfs` is left out if it is one of ours; else it is visited like any other directory.
#include "ctl/replace/tree.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>

#include "base/try.h"
#include "ctl/mounts/mount_client.h"
#include "store/directory_reader.h"
#include "store/home.h"
#include "store/names.h"
#include "xzfs/result.h"

namespace xzfs {
namespace {

// A directory that is still to be walked: `name` in `parent`.
struct Pending {
  OpenDirPtr parent;  // null: it was named itself
  std::string name;
  std::string below;  // path below the named directory
  dev_t device = 0;   // of the named directory
};

class Walk {
 public:
  Walk(Os& os, const TreeRules& rules, const std::atomic<bool>& cancelled,
       const std::function<void(FoundFile)>& visit, const OnWalkError& on_error,
       const std::function<void(const OpenDir&)>& on_private)
      : os_(os),
        rules_(rules),
        cancelled_(cancelled),
        visit_(visit),
        on_error_(on_error),
        on_private_(on_private) {}

  void Run(const std::string& path) {
    root_ = nullptr;
    if (const Status status = Begin(path); !status) {
      on_error_(path, status.error());
    }
    while (!pending_.empty() && !cancelled_) {
      const Pending next = std::move(pending_.back());
      pending_.pop_back();
      const int fd = os_.OpenBeneath(next.parent->fd(), next.name, O_RDONLY | O_DIRECTORY);
      const std::string inner = next.parent->PathOf(next.name);
      Status status = Enter(fd, inner, next);
      if (!status && status.error().code != ENOENT) {
        on_error_(inner, status.error());
      }
    }
    pending_.clear();
  }

 private:
  Status Begin(const std::string& path) {
    struct stat st = {};
    if (stat(path.c_str(), &st) != 0) {
      return FailErrno(errno, path);
    }
    if (S_ISDIR(st.st_mode)) {
      return Enter(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), path,
                   {.parent = nullptr, .name = "", .below = "", .device = st.st_dev});
    }
    if (!S_ISREG(st.st_mode)) {
      return Fail(EINVAL, path + " is neither a file nor a directory");
    }
    if (struct stat own = {}; lstat(path.c_str(), &own) == 0 && S_ISLNK(own.st_mode)) {
      return Fail(EINVAL, path + " is a symbolic link: name what it points to");
    }
    const size_t slash = path.rfind('/');
    const std::string folder = slash == std::string::npos ? "" : path.substr(0, slash + 1);
    XZFS_ASSIGN_OR_RETURN(const OpenDirPtr dir, Open(open(folder.empty() ? "." : folder.c_str(),
                                                          O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                                                     folder, nullptr));
    if (dir->in_mount && !rules_.only_stored_for.empty()) {
      return Failure(InMountError(path, rules_.only_stored_for));
    }
    visit_({.dir = dir, .name = path.substr(folder.size()), .attributes = st, .is_named = true});
    return {};
  }

  // Takes the descriptor, or -errno of the call that was to open it. `parent`: null if the
  // directory was named.
  Result<OpenDirPtr> Open(int fd, const std::string& path, const OpenDir* parent) {
    if (fd < 0) {
      return FailErrno(fd == -1 ? errno : -fd, "open " + (path.empty() ? "." : path));
    }
    auto dir = std::make_shared<OpenDir>();
    dir->descriptor = Descriptor(os_, fd);
    dir->path = path;
    dir->root = root_;
    if (const int error = os_.FStat(fd, &dir->attributes); error < 0) {
      return FailErrno(-error, "stat " + path);
    }
    const bool may_begin = parent == nullptr || parent->attributes.st_dev != dir->attributes.st_dev;
    dir->in_mount = may_begin ? IsInMount(fd) : parent->in_mount;
    return dir;
  }

  Status Enter(int fd, const std::string& path, const Pending& place) {
    XZFS_ASSIGN_OR_RETURN(const OpenDirPtr dir, Open(fd, path, place.parent.get()));
    root_ = root_ == nullptr ? dir : root_;
    if (rules_.one_file_system && dir->attributes.st_dev != place.device) {
      return {};
    }
    if (dir->in_mount && !rules_.only_stored_for.empty()) {
      return Failure(InMountError(path, rules_.only_stored_for));
    }
    Result<std::vector<RawLine>> lines = ReadAllLines(os_, fd);
    if (!lines) {
      return Fail(lines.error().code, path + ": " + lines.error().message);
    }
    std::sort(lines->begin(), lines->end(),
              [](const RawLine& a, const RawLine& b) { return a.name < b.name; });
    std::vector<Pending> folders;
    for (const RawLine& line : *lines) {
      if (cancelled_) {
        return {};
      }
      Look(dir, line, JoinPath(place.below, line.name), place.device, folders);
    }
    // The last one is taken first.
    std::move(folders.rbegin(), folders.rend(), std::back_inserter(pending_));
    return {};
  }

  void Look(const OpenDirPtr& dir, const RawLine& line, const std::string& below, dev_t device,
            std::vector<Pending>& folders) {
    if (line.name == kPrivateFolder && IsOurs(*dir)) {
      if (on_private_) {
        on_private_(*dir);
      }
      return;
    }
    if ((line.type != DT_REG && line.type != DT_DIR && line.type != DT_UNKNOWN) ||
        IsExcluded(line.name, below)) {
      return;
    }
    FoundFile file = {.dir = dir, .name = line.name, .attributes = {}, .is_named = false};
    const int error = os_.StatAt(dir->fd(), line.name, &file.attributes);
    if (error == -ENOENT) {
      return;
    }
    if (error < 0) {
      on_error_(file.path(), FailErrno(-error, "stat " + file.path()).error());
    } else if (S_ISDIR(file.attributes.st_mode)) {
      folders.push_back({dir, line.name, below, device});
    } else if (S_ISREG(file.attributes.st_mode)) {
      visit_(std::move(file));
    }
  }

  bool IsOurs(const OpenDir& dir) {
    const auto home = LookAtAnyHome(os_, dir.fd());
    return !home || home->kind == HomeKind::kOurs || home->kind == HomeKind::kCopy;
  }

  bool IsExcluded(const std::string& name, const std::string& below) const {
    return std::any_of(rules_.excludes.begin(), rules_.excludes.end(), [&](const auto& glob) {
      const std::string& subject = glob.find('/') == std::string::npos ? name : below;
      return fnmatch(glob.c_str(), subject.c_str(), FNM_PATHNAME) == 0;
    });
  }

  Os& os_;
  const TreeRules& rules_;
  const std::atomic<bool>& cancelled_;
  const std::function<void(FoundFile)>& visit_;
  const OnWalkError& on_error_;
  const std::function<void(const OpenDir&)>& on_private_;
  std::vector<Pending> pending_;
  OpenDirPtr root_;  // null until the named directory is open
};

}  // namespace

void TreeRules::Declare(Arguments& arguments) {
  arguments.Texts("--exclude", "GLOB", excludes,
                  "leave out matches, by name, or by path if GLOB has a slash; repeatable");
  arguments.Flag("-x,--one-file-system", one_file_system, "don't enter other file systems");
}

void WalkTrees(Os& os, const TreeRules& rules, const std::vector<std::string>& paths,
               const std::atomic<bool>& cancelled, const std::function<void(FoundFile)>& visit,
               const OnWalkError& on_error, const std::function<void(const OpenDir&)>& on_private) {
  Walk walk(os, rules, cancelled, visit, on_error, on_private);
  for (const std::string& path : paths) {
    if (!cancelled) {
      walk.Run(path);
    }
  }
}

}  // namespace xzfs
