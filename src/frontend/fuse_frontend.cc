// Each operation is: take the request apart, ask the Filesystem, reply once. No lock of ours is
// held across a reply, and the lookup count of a node is raised before the kernel can learn of it.
#include "frontend/fuse_frontend.h"

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <dirent.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <new>
#include <thread>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/mutex.h"
#include "fs/filesystem.h"

namespace xzfs {
namespace {

static_assert(kRootNode == FUSE_ROOT_ID);

// Requests that are answered at the same time. Reads wait for decoding, so there are more of them
// than processors, or a slow file would keep everybody from a simple stat.
constexpr unsigned kRequestThreads = 16;

// Wakes a thread that waits inside libfuse. Its handler does nothing.
constexpr int kWakeSignal = SIGUSR1;

// The size of a control attribute may change between the call that asks for it and the one that
// fetches: so much is added to the first answer.
constexpr size_t kControlSlack = 256;

// What libfuse complained about last, for the error of a failed mount. libfuse's log is global.
Mutex g_fuse_log_mutex;
std::string g_fuse_log GUARDED_BY(g_fuse_log_mutex);

void FuseLog(enum fuse_log_level level, const char* format, va_list args) {
  char text[1024];
  vsnprintf(text, sizeof text, format, args);
  std::string line(text);
  while (!line.empty() && line.back() == '\n') {
    line.pop_back();
  }
  if (level >= FUSE_LOG_INFO) {
    Log(LogLevel::kDebug, line);
    return;
  }
  MutexLock lock(g_fuse_log_mutex);
  g_fuse_log = line;
}

std::string TakeFuseLog() {
  MutexLock lock(g_fuse_log_mutex);
  return std::exchange(g_fuse_log, {});
}

// What a handle number of ours stands for.
OpenFile* FileOf(const struct fuse_file_info* fi) { return reinterpret_cast<OpenFile*>(fi->fh); }

}  // namespace

class FuseFrontend::Impl {
 public:
  Impl(Filesystem& filesystem, const Options& fs_options, Config frontend_config)
      : fs(filesystem), options(fs_options), config(std::move(frontend_config)) {}
  ~Impl();

  Status MakeSession();
  Status Serve();
  void Stop();

  static Impl& Of(fuse_req_t req) { return *static_cast<Impl*>(fuse_req_userdata(req)); }

  // Runs one operation: `act` replies itself on success, an Error it returns is replied here.
  template <class Act>
  static void Run(fuse_req_t req, Act act);

  struct fuse_entry_param EntryOf(const LookupResult& found) const;

  static void Init(void* userdata, struct fuse_conn_info* conn);
  static void Lookup(fuse_req_t req, fuse_ino_t parent, const char* name);
  static void Forget(fuse_req_t req, fuse_ino_t node, uint64_t count);
  static void ForgetMulti(fuse_req_t req, size_t count, struct fuse_forget_data* forgets);
  static void GetAttr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info* fi);
  static void ReadLink(fuse_req_t req, fuse_ino_t node);
  static void Open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info* fi);
  static void Read(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
                   struct fuse_file_info* fi);
  static void Release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info* fi);
  static void OpenDir(fuse_req_t req, fuse_ino_t node, struct fuse_file_info* fi);
  static void ReadDir(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
                      struct fuse_file_info* fi);
  static void ReadDirPlus(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
                          struct fuse_file_info* fi);
  static void List(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset, bool plus);
  static void StatFs(fuse_req_t req, fuse_ino_t node);
  static void GetXattr(fuse_req_t req, fuse_ino_t node, const char* name, size_t size);
  static void ListXattr(fuse_req_t req, fuse_ino_t node, size_t size);
  static void ReplyXattr(fuse_req_t req, const std::string& value, size_t size, size_t slack);

  Filesystem& fs;
  const Options options;
  const Config config;
  struct fuse_session* session = nullptr;
  bool mounted = false;

 private:
  Mutex mutex_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread waker_;
  std::atomic<bool> served_{false};  // Serve has returned
  std::atomic<bool> serving_{false};
  pthread_t serving_thread_{};  // valid while serving_
};

template <class Act>
void FuseFrontend::Impl::Run(fuse_req_t req, Act act) {
  try {
    const Status status = act(Of(req));
    if (!status) {
      fuse_reply_err(req, status.error().code);
    }
  } catch (const std::bad_alloc&) {
    fuse_reply_err(req, ENOMEM);
  }
}

struct fuse_entry_param FuseFrontend::Impl::EntryOf(const LookupResult& found) const {
  struct fuse_entry_param entry = {};
  entry.ino = found.node;
  entry.attr = found.attributes;
  entry.attr_timeout = options.attr_timeout_s;
  entry.entry_timeout = options.entry_timeout_s;
  return entry;
}

void FuseFrontend::Impl::Init(void* userdata, struct fuse_conn_info* conn) {
  // Replies come from our own buffers: splicing those through a pipe is slower than writing them.
  conn->want &=
      ~static_cast<unsigned>(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
  // The kernel's own readahead of many readers must not run into its default of 12.
  conn->max_background = 4 * kRequestThreads;
  const Impl& self = *static_cast<Impl*>(userdata);
  if (self.config.on_ready) {
    self.config.on_ready();
  }
}

void FuseFrontend::Impl::Lookup(fuse_req_t req, fuse_ino_t parent, const char* name) {
  Run(req, [&](Impl& self) -> Status {
    XZFS_ASSIGN_OR_RETURN(const LookupResult found, self.fs.Lookup(parent, name));
    const struct fuse_entry_param entry = self.EntryOf(found);
    if (fuse_reply_entry(req, &entry) == -ENOENT) {
      self.fs.Forget(found.node, 1);  // the caller was interrupted and never learned of it
    }
    return {};
  });
}

void FuseFrontend::Impl::Forget(fuse_req_t req, fuse_ino_t node, uint64_t count) {
  Of(req).fs.Forget(node, count);
  fuse_reply_none(req);
}

void FuseFrontend::Impl::ForgetMulti(fuse_req_t req, size_t count,
                                     struct fuse_forget_data* forgets) {
  for (size_t i = 0; i < count; ++i) {
    Of(req).fs.Forget(forgets[i].ino, forgets[i].nlookup);
  }
  fuse_reply_none(req);
}

void FuseFrontend::Impl::GetAttr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info*) {
  Run(req, [&](Impl& self) -> Status {
    XZFS_ASSIGN_OR_RETURN(const struct stat st, self.fs.GetAttributes(node));
    fuse_reply_attr(req, &st, self.options.attr_timeout_s);
    return {};
  });
}

void FuseFrontend::Impl::ReadLink(fuse_req_t req, fuse_ino_t node) {
  Run(req, [&](Impl& self) -> Status {
    XZFS_ASSIGN_OR_RETURN(const std::string target, self.fs.ReadLink(node));
    fuse_reply_readlink(req, target.c_str());
    return {};
  });
}

void FuseFrontend::Impl::Open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info* fi) {
  Run(req, [&](Impl& self) -> Status {
    if ((fi->flags & O_ACCMODE) != O_RDONLY) {
      return Fail(EROFS, "the mount is read-only");
    }
    bool keep_cache = false;
    XZFS_ASSIGN_OR_RETURN(std::unique_ptr<OpenFile> file, self.fs.Open(node, &keep_cache));
    fi->keep_cache = keep_cache ? 1 : 0;
    fi->noflush = 1;
    fi->fh = reinterpret_cast<uint64_t>(file.get());
    if (fuse_reply_open(req, fi) == -ENOENT) {
      self.fs.Close(std::move(file));  // the caller was interrupted: no release will come
    } else {
      static_cast<void>(file.release());  // Release takes it back
    }
    return {};
  });
}

void FuseFrontend::Impl::Read(fuse_req_t req, fuse_ino_t, size_t size, off_t offset,
                              struct fuse_file_info* fi) {
  Run(req, [&](Impl& self) -> Status {
    if (offset < 0) {
      return Fail(EINVAL, "a negative offset");
    }
    // One buffer a thread, as large as the largest request so far (the kernel asks for 1 MiB at
    // most).
    thread_local std::vector<std::byte> buffer;
    if (buffer.size() < size) {
      buffer.resize(size);
    }
    XZFS_ASSIGN_OR_RETURN(const size_t got, self.fs.Read(*FileOf(fi), static_cast<uint64_t>(offset),
                                                         {buffer.data(), size}));
    fuse_reply_buf(req, reinterpret_cast<const char*>(buffer.data()), got);
    return {};
  });
}

void FuseFrontend::Impl::Release(fuse_req_t req, fuse_ino_t, struct fuse_file_info* fi) {
  Of(req).fs.Close(std::unique_ptr<OpenFile>(FileOf(fi)));
  fuse_reply_err(req, 0);
}

void FuseFrontend::Impl::OpenDir(fuse_req_t req, fuse_ino_t, struct fuse_file_info* fi) {
  // Listing keeps no state. Without this operation the kernel would cache listings for ever.
  fi->fh = 0;
  fuse_reply_open(req, fi);
}

void FuseFrontend::Impl::ReadDir(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
                                 struct fuse_file_info*) {
  List(req, node, size, offset, /*plus=*/false);
}

void FuseFrontend::Impl::ReadDirPlus(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
                                     struct fuse_file_info*) {
  List(req, node, size, offset, /*plus=*/true);
}

void FuseFrontend::Impl::List(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
                              bool plus) {
  Run(req, [&](Impl& self) -> Status {
    std::vector<char> reply(size);
    size_t used = 0;
    std::vector<NodeId> counted;
    const auto add = [&](const DirectoryLine& line) {
      struct fuse_entry_param entry = {};
      if (line.lookup) {
        entry = self.EntryOf(*line.lookup);
      } else {
        entry.attr.st_ino = line.inode;
        entry.attr.st_mode = static_cast<mode_t>(DTTOIF(line.type));
      }
      const auto next = static_cast<off_t>(line.next_offset);
      const size_t need = plus ? fuse_add_direntry_plus(req, reply.data() + used, size - used,
                                                        line.name.c_str(), &entry, next)
                               : fuse_add_direntry(req, reply.data() + used, size - used,
                                                   line.name.c_str(), &entry.attr, next);
      if (need > size - used) {
        return false;
      }
      used += need;
      if (line.lookup) {
        counted.push_back(line.lookup->node);
      }
      return true;
    };
    const Status listed =
        self.fs.ReadDirectory(node, static_cast<uint64_t>(offset), plus, size, add);
    if (!listed) {
      for (const NodeId id : counted) {
        self.fs.Forget(id, 1);
      }
      return listed;
    }
    if (fuse_reply_buf(req, reply.data(), used) == -ENOENT) {
      for (const NodeId id : counted) {
        self.fs.Forget(id, 1);
      }
    }
    return {};
  });
}

void FuseFrontend::Impl::StatFs(fuse_req_t req, fuse_ino_t) {
  Run(req, [&](Impl& self) -> Status {
    XZFS_ASSIGN_OR_RETURN(const struct statvfs st, self.fs.StatVfs());
    fuse_reply_statfs(req, &st);
    return {};
  });
}

void FuseFrontend::Impl::ReplyXattr(fuse_req_t req, const std::string& value, size_t size,
                                    size_t slack) {
  if (size == 0) {
    fuse_reply_xattr(req, value.size() + slack);
  } else if (value.size() > size) {
    fuse_reply_err(req, ERANGE);
  } else {
    fuse_reply_buf(req, value.data(), value.size());
  }
}

void FuseFrontend::Impl::GetXattr(fuse_req_t req, fuse_ino_t node, const char* name, size_t size) {
  Run(req, [&](Impl& self) -> Status {
    const std::string key(name);
    XZFS_ASSIGN_OR_RETURN(const std::string value, self.fs.GetXattr(node, key));
    ReplyXattr(req, value, size, key.starts_with("user.xzfs.") ? kControlSlack : 0);
    return {};
  });
}

void FuseFrontend::Impl::ListXattr(fuse_req_t req, fuse_ino_t node, size_t size) {
  Run(req, [&](Impl& self) -> Status {
    XZFS_ASSIGN_OR_RETURN(const std::string names, self.fs.ListXattr(node));
    ReplyXattr(req, names, size, 0);
    return {};
  });
}

Status FuseFrontend::Impl::MakeSession() {
  struct fuse_lowlevel_ops ops = {};
  ops.init = Init;
  ops.lookup = Lookup;
  ops.forget = Forget;
  ops.forget_multi = ForgetMulti;
  ops.getattr = GetAttr;
  ops.readlink = ReadLink;
  ops.open = Open;
  ops.read = Read;
  ops.release = Release;
  ops.opendir = OpenDir;
  ops.readdir = ReadDir;
  ops.readdirplus = ReadDirPlus;
  ops.statfs = StatFs;
  ops.getxattr = GetXattr;
  ops.listxattr = ListXattr;

  char* list = nullptr;
  std::string fsname = "fsname=" + config.fsname;
  int bad = fuse_opt_add_opt_escaped(&list, fsname.c_str());
  bad |= fuse_opt_add_opt(&list, "subtype=xzfs");
  bad |= fuse_opt_add_opt(&list, "default_permissions");
  if (options.read_only) {
    bad |= fuse_opt_add_opt(&list, "ro");
  }
  if (options.allow_other) {
    bad |= fuse_opt_add_opt(&list, "allow_other");
  }
  for (const std::string& flag : options.mount_flags) {
    bad |= fuse_opt_add_opt(&list, flag.c_str());
  }
  struct fuse_args args = FUSE_ARGS_INIT(0, nullptr);
  bad |= fuse_opt_add_arg(&args, "xzfs");
  bad |= fuse_opt_add_arg(&args, "-o");
  bad |= fuse_opt_add_arg(&args, list != nullptr ? list : "");
  if (config.debug) {
    bad |= fuse_opt_add_arg(&args, "-d");
  }
  fuse_set_log_func(FuseLog);
  if (bad == 0) {
    session = fuse_session_new(&args, &ops, sizeof ops, this);
  }
  free(list);
  fuse_opt_free_args(&args);
  if (session == nullptr) {
    return Fail(EINVAL, "libfuse refused the session: " + TakeFuseLog());
  }
  return {};
}

FuseFrontend::Impl::~Impl() {
  served_ = true;  // for a Stop that no Serve followed
  if (waker_.joinable()) {
    waker_.join();
  }
  if (session != nullptr) {
    fuse_session_destroy(session);
  }
}

Status FuseFrontend::Impl::Serve() {
  struct sigaction wake = {};
  wake.sa_handler = [](int) {};  // without SA_RESTART: a waiting call returns
  sigaction(kWakeSignal, &wake, nullptr);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, kWakeSignal);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);

  serving_thread_ = pthread_self();
  serving_ = true;
  int result = 0;
  if (config.single_threaded) {
    result = fuse_session_loop(session);
  } else {
    struct fuse_loop_config* loop = fuse_loop_cfg_create();
    fuse_loop_cfg_set_max_threads(loop, kRequestThreads);
    result = fuse_session_loop_mt(session, loop);
    fuse_loop_cfg_destroy(loop);
  }
  served_ = true;
  MutexLock lock(mutex_);  // the waker may be about to use serving_thread_
  serving_ = false;
  if (result < 0) {
    return FailErrno(-result, "the connection to the kernel broke");
  }
  return {};
}

void FuseFrontend::Impl::Stop() {
  MutexLock lock(mutex_);
  if (stopping_) {
    return;
  }
  stopping_ = true;
  fuse_session_exit(session);
  // libfuse looks at the exit flag and then waits; a signal that arrives in between is lost. So it
  // is sent until Serve has returned.
  waker_ = std::thread([this] {
    while (!served_) {
      {
        MutexLock wake_lock(mutex_);
        if (serving_) {
          pthread_kill(serving_thread_, kWakeSignal);
        }
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  });
}

FuseFrontend::FuseFrontend(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

FuseFrontend::~FuseFrontend() = default;

Result<std::unique_ptr<FuseFrontend>> FuseFrontend::Create(Filesystem& filesystem,
                                                           const Options& options, Config config) {
  auto impl = std::make_unique<Impl>(filesystem, options, std::move(config));
  XZFS_RETURN_IF_ERROR(impl->MakeSession());
  return std::unique_ptr<FuseFrontend>(new FuseFrontend(std::move(impl)));
}

Status FuseFrontend::Mount(const std::string& mountpoint) {
  errno = 0;
  if (fuse_session_mount(impl_->session, mountpoint.c_str()) != 0) {
    const int code = errno;
    const std::string text = TakeFuseLog();
    return Fail(code != 0 ? code : EIO, text.empty() ? "fusermount3 refused" : text);
  }
  impl_->mounted = true;
  return {};
}

Status FuseFrontend::AttachSocket(int fd) {
  static const struct fuse_custom_io io = {
      .writev = [](int to, struct iovec* parts, int count, void*) -> ssize_t {
        return writev(to, parts, count);
      },
      .read = [](int from, void* buffer, size_t size, void*) -> ssize_t {
        return read(from, buffer, size);
      },
      .splice_receive = nullptr,
      .splice_send = nullptr,
  };
  if (const int error = fuse_session_custom_io(impl_->session, &io, fd); error != 0) {
    return Fail(error < 0 ? -error : EINVAL, "libfuse refused the socket");
  }
  return {};
}

Status FuseFrontend::Serve() { return impl_->Serve(); }

void FuseFrontend::Stop() { impl_->Stop(); }

void FuseFrontend::Unmount() {
  if (std::exchange(impl_->mounted, false)) {
    fuse_session_unmount(impl_->session);
  }
}

}  // namespace xzfs
