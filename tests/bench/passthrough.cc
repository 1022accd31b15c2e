// A FUSE file system that only passes requests on: no FUSE file system on this machine could be
// faster. It opens files by path, so it keeps no descriptor for an inode. It never forgets a node,
// which a benchmark can afford. Its threads, timeouts and buffers are those of xzfs. It reads, and
// writes as much as `cp -r` needs: it can't rename, link or remove, and the user who mounts it owns
// all files.
//
//   passthrough SOURCE MOUNTPOINT      in the foreground, until it is unmounted
#define FUSE_USE_VERSION 314
#include <dirent.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <deque>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

constexpr double kTimeoutSeconds = 1.0;

// Flags that this program must not pass on: the kernel has resolved links and gives each write its
// offset, and the buffers are not aligned.
constexpr int kFlagsOfTheKernel = O_NOFOLLOW | O_APPEND | O_DIRECT;

// The paths of all nodes ever named; node 1 is the source. Thread-safe.
class Nodes {
 public:
  explicit Nodes(std::string root) { Number(std::move(root)); }

  fuse_ino_t Number(std::string path) {
    const std::lock_guard lock(mutex_);
    const auto [at, added] = numbers_.try_emplace(std::move(path), paths_.size() + 1);
    if (added) {
      paths_.push_back(&at->first);
    }
    return at->second;
  }
  const std::string& Path(fuse_ino_t node) {
    const std::lock_guard lock(mutex_);
    return *paths_[node - 1];  // keys of the map stay where they are
  }

 private:
  std::mutex mutex_;
  std::unordered_map<std::string, fuse_ino_t> numbers_;
  std::deque<const std::string*> paths_;
};

Nodes& NodesOf(fuse_req_t req) { return *static_cast<Nodes*>(fuse_req_userdata(req)); }

fuse_entry_param Entry(Nodes& nodes, std::string path, const struct stat& st) {
  fuse_entry_param entry = {};
  entry.ino = nodes.Number(std::move(path));
  entry.attr = st;
  entry.attr_timeout = entry.entry_timeout = kTimeoutSeconds;
  return entry;
}

void Init(void*, fuse_conn_info* conn) {
  conn->want &=
      ~static_cast<unsigned>(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
  conn->max_background = 64;
}

void Lookup(fuse_req_t req, fuse_ino_t parent, const char* name) {
  std::string path = NodesOf(req).Path(parent) + "/" + name;
  struct stat st;
  if (lstat(path.c_str(), &st) != 0) {
    fuse_reply_err(req, errno);
    return;
  }
  const fuse_entry_param entry = Entry(NodesOf(req), std::move(path), st);
  fuse_reply_entry(req, &entry);
}

void GetAttr(fuse_req_t req, fuse_ino_t node, fuse_file_info*) {
  struct stat st;
  if (lstat(NodesOf(req).Path(node).c_str(), &st) != 0) {
    fuse_reply_err(req, errno);
    return;
  }
  fuse_reply_attr(req, &st, kTimeoutSeconds);
}

void ReadLink(fuse_req_t req, fuse_ino_t node) {
  char target[PATH_MAX + 1] = {};
  if (readlink(NodesOf(req).Path(node).c_str(), target, PATH_MAX) < 0) {
    fuse_reply_err(req, errno);
    return;
  }
  fuse_reply_readlink(req, target);
}

timespec TimeToSet(timespec given, int set, int now) {
  if (now != 0 || set == 0) {
    given.tv_nsec = now != 0 ? UTIME_NOW : UTIME_OMIT;
  }
  return given;
}

bool Change(const char* path, const struct stat& st, int what) {
  constexpr int kTimes = FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME;
  const timespec times[] = {
      TimeToSet(st.st_atim, what & FUSE_SET_ATTR_ATIME, what & FUSE_SET_ATTR_ATIME_NOW),
      TimeToSet(st.st_mtim, what & FUSE_SET_ATTR_MTIME, what & FUSE_SET_ATTR_MTIME_NOW)};
  const uid_t uid = (what & FUSE_SET_ATTR_UID) != 0 ? st.st_uid : static_cast<uid_t>(-1);
  const gid_t gid = (what & FUSE_SET_ATTR_GID) != 0 ? st.st_gid : static_cast<gid_t>(-1);
  return ((what & FUSE_SET_ATTR_MODE) == 0 || chmod(path, st.st_mode) == 0) &&
         ((what & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) == 0 || lchown(path, uid, gid) == 0) &&
         ((what & FUSE_SET_ATTR_SIZE) == 0 || truncate(path, st.st_size) == 0) &&
         ((what & kTimes) == 0 || utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW) == 0);
}

void SetAttr(fuse_req_t req, fuse_ino_t node, struct stat* st, int what, fuse_file_info* fi) {
  if (!Change(NodesOf(req).Path(node).c_str(), *st, what)) {
    fuse_reply_err(req, errno);
    return;
  }
  GetAttr(req, node, fi);
}

void MakeDir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) {
  const std::string path = NodesOf(req).Path(parent) + "/" + name;
  if (mkdir(path.c_str(), mode) != 0) {
    fuse_reply_err(req, errno);
    return;
  }
  Lookup(req, parent, name);
}

void MakeLink(fuse_req_t req, const char* target, fuse_ino_t parent, const char* name) {
  const std::string path = NodesOf(req).Path(parent) + "/" + name;
  if (symlink(target, path.c_str()) != 0) {
    fuse_reply_err(req, errno);
    return;
  }
  Lookup(req, parent, name);
}

void Create(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, fuse_file_info* fi) {
  std::string path = NodesOf(req).Path(parent) + "/" + name;
  const int fd = open(path.c_str(), (fi->flags & ~kFlagsOfTheKernel) | O_CREAT, mode);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) != 0) {
    fuse_reply_err(req, errno);
    return;
  }
  const fuse_entry_param entry = Entry(NodesOf(req), std::move(path), st);
  fi->fh = static_cast<uint64_t>(fd);
  if (fuse_reply_create(req, &entry, fi) == -ENOENT) {
    close(fd);
  }
}

void Open(fuse_req_t req, fuse_ino_t node, fuse_file_info* fi) {
  const int fd = open(NodesOf(req).Path(node).c_str(), fi->flags & ~kFlagsOfTheKernel);
  if (fd < 0) {
    fuse_reply_err(req, errno);
    return;
  }
  fi->fh = static_cast<uint64_t>(fd);
  fi->keep_cache = 1;
  if (fuse_reply_open(req, fi) == -ENOENT) {
    close(fd);
  }
}

void Read(fuse_req_t req, fuse_ino_t, size_t size, off_t offset, fuse_file_info* fi) {
  thread_local std::vector<char> buffer;
  buffer.resize(std::max(buffer.size(), size));
  const ssize_t n = pread(static_cast<int>(fi->fh), buffer.data(), size, offset);
  if (n < 0) {
    fuse_reply_err(req, errno);
    return;
  }
  fuse_reply_buf(req, buffer.data(), static_cast<size_t>(n));
}

void Write(fuse_req_t req, fuse_ino_t, const char* bytes, size_t size, off_t offset,
           fuse_file_info* fi) {
  const ssize_t n = pwrite(static_cast<int>(fi->fh), bytes, size, offset);
  if (n < 0) {
    fuse_reply_err(req, errno);
    return;
  }
  fuse_reply_write(req, static_cast<size_t>(n));
}

// Closes a duplicate, because on some file systems a close reports an error.
void Flush(fuse_req_t req, fuse_ino_t, fuse_file_info* fi) {
  fuse_reply_err(req, close(dup(static_cast<int>(fi->fh))) == 0 ? 0 : errno);
}

void FSync(fuse_req_t req, fuse_ino_t, int data_only, fuse_file_info* fi) {
  const int fd = static_cast<int>(fi->fh);
  fuse_reply_err(req, (data_only != 0 ? fdatasync(fd) : fsync(fd)) == 0 ? 0 : errno);
}

void Release(fuse_req_t req, fuse_ino_t, fuse_file_info* fi) {
  close(static_cast<int>(fi->fh));
  fuse_reply_err(req, 0);
}

void OpenDir(fuse_req_t req, fuse_ino_t node, fuse_file_info* fi) {
  DIR* const dir = opendir(NodesOf(req).Path(node).c_str());
  if (dir == nullptr) {
    fuse_reply_err(req, errno);
    return;
  }
  fi->fh = reinterpret_cast<uint64_t>(dir);
  if (fuse_reply_open(req, fi) == -ENOENT) {
    closedir(dir);
  }
}

void ListDir(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset, fuse_file_info* fi,
             bool plus) {
  DIR* const dir = reinterpret_cast<DIR*>(fi->fh);
  const std::string& path = NodesOf(req).Path(node);
  if (telldir(dir) != offset) {
    seekdir(dir, offset);
  }
  std::vector<char> buffer(size);
  size_t used = 0;
  while (const dirent* const found = readdir(dir)) {
    fuse_entry_param entry = {};
    entry.attr.st_ino = found->d_ino;
    entry.attr.st_mode = static_cast<mode_t>(DTTOIF(found->d_type));
    struct stat st;
    const bool dots = strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0;
    if (plus && !dots && fstatat(dirfd(dir), found->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
      entry = Entry(NodesOf(req), path + "/" + found->d_name, st);
    }
    char* const to = buffer.data() + used;
    const size_t need =
        plus ? fuse_add_direntry_plus(req, to, size - used, found->d_name, &entry, found->d_off)
             : fuse_add_direntry(req, to, size - used, found->d_name, &entry.attr, found->d_off);
    if (need > size - used) {
      break;
    }
    used += need;
  }
  fuse_reply_buf(req, buffer.data(), used);
}

void ReadDir(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset, fuse_file_info* fi) {
  ListDir(req, node, size, offset, fi, false);
}

void ReadDirPlus(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset, fuse_file_info* fi) {
  ListDir(req, node, size, offset, fi, true);
}

void ReleaseDir(fuse_req_t req, fuse_ino_t, fuse_file_info* fi) {
  closedir(reinterpret_cast<DIR*>(fi->fh));
  fuse_reply_err(req, 0);
}

fuse_lowlevel_ops Operations() {
  fuse_lowlevel_ops ops = {};
  ops.init = Init;
  ops.lookup = Lookup;
  ops.getattr = GetAttr;
  ops.setattr = SetAttr;
  ops.readlink = ReadLink;
  ops.mkdir = MakeDir;
  ops.symlink = MakeLink;
  ops.create = Create;
  ops.open = Open;
  ops.read = Read;
  ops.write = Write;
  ops.flush = Flush;
  ops.fsync = FSync;
  ops.release = Release;
  ops.opendir = OpenDir;
  ops.readdir = ReadDir;
  ops.readdirplus = ReadDirPlus;
  ops.releasedir = ReleaseDir;
  return ops;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: passthrough SOURCE MOUNTPOINT\n");
    return 1;
  }
  umask(0);  // the kernel has taken the caller's off
  Nodes nodes(argv[1]);
  const fuse_lowlevel_ops ops = Operations();
  const char* const mount_argv[] = {argv[0], "-o",
                                    "default_permissions,fsname=passthrough,subtype=passthrough"};
  fuse_args args = FUSE_ARGS_INIT(3, const_cast<char**>(mount_argv));
  fuse_session* const session = fuse_session_new(&args, &ops, sizeof ops, &nodes);
  if (session == nullptr || fuse_session_mount(session, argv[2]) != 0) {
    return 1;
  }
  fuse_set_signal_handlers(session);
  fuse_loop_config* const loop = fuse_loop_cfg_create();
  fuse_loop_cfg_set_max_threads(loop, 64);
  const int result = fuse_session_loop_mt(session, loop);
  fuse_loop_cfg_destroy(loop);
  fuse_remove_signal_handlers(session);
  fuse_session_unmount(session);
  fuse_session_destroy(session);
  fuse_opt_free_args(&args);
  return result < 0 ? 1 : 0;
}
