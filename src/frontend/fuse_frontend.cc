// Create makes libfuse's session from our options. MountAt or AttachSocket connects it. Serve runs
// libfuse's loop, whose threads call FuseOperations. The mount gets functions that call the page
// cache filler. The mount's threads outlive the session, so the two share the filler.
//
// The end has an order. Stop ends the filler first, while requests are still answered: the kernel
// may make the filler wait for a page that a request has locked. Then Stop sets libfuse's exit
// flag, and a signal wakes the thread in Serve. libfuse checks the flag before it waits, so a
// signal that arrives in between is lost: Stop's thread repeats it until Serve has returned. After
// the loop no request thread is left, and Serve has the parked requests answered.
//
// libfuse says why a mount failed only in its log, which is global: FuseLog keeps the last message.
#include "frontend/fuse_frontend.h"

#include <pthread.h>
#include <signal.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/mutex.h"
#include "base/try.h"
#include "frontend/fuse_operations.h"
#include "frontend/page_cache_filler.h"

namespace xzfs {
namespace {

// The most request threads; libfuse starts them as needed. More than processors, because some
// requests take long (reads in giant Blocks, a legacy file that is decoded for its size) and the
// others must not wait for them.
constexpr unsigned kRequestThreads = 64;

// Wakes a thread that waits inside libfuse. Its handler does nothing.
constexpr int kWakeSignal = SIGUSR1;

// The last message of libfuse, for the error of a failed mount. libfuse's log is global.
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

}  // namespace

class FuseFrontend::Impl {
 public:
  Impl(Mount& mount, const Options& fs_options, Config frontend_config)
      : options(fs_options),
        config(std::move(frontend_config)),
        operations(mount, filler_, config.on_ready) {
    filler_->SetStoreHook(config.before_store);
    mount.kernel.Set(
        {.offer = [filler = filler_](
                      std::vector<DecodedRange> ranges) { filler->Offer(std::move(ranges)); },
         .drop =
             [filler = filler_](std::vector<PageRange> ranges, std::function<void()> done) {
               return filler->Invalidate(std::move(ranges), std::move(done));
             },
         .drop_stale = [filler = filler_](NodeId node,
                                          uint64_t offset) { filler->DropFrom(node, offset); }});
  }
  ~Impl();

  Status MakeSession();
  Status Serve();
  void Stop();

  const Options options;
  const Config config;

 private:
  // Shared, because the mount's threads outlive the session.
  const std::shared_ptr<PageCacheFiller> filler_ = std::make_shared<PageCacheFiller>();

 public:
  FuseOperations operations;
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

Status FuseFrontend::Impl::MakeSession() {
  const struct fuse_lowlevel_ops ops = FuseOperations::Table();
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
  if (options.compress != Compress::kCold || options.read_only) {
    bad |= fuse_opt_add_opt(&list, "noatime");  // reads don't change the atime of the mount
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
    session = fuse_session_new(&args, &ops, sizeof ops, &operations);
  }
  free(list);
  fuse_opt_free_args(&args);
  if (session == nullptr) {
    return Fail(EINVAL, "libfuse refused the session: " + TakeFuseLog());
  }
  return {};
}

FuseFrontend::Impl::~Impl() {
  served_ = true;  // for a Stop without a Serve
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

  if (config.fill_page_cache) {
    filler_->Start(session);
  }
  operations.waiting().Start();
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
  filler_->Stop();
  // Parked requests must be answered, too; their commits continue.
  operations.waiting().Stop();
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
  waker_ = std::thread([this] {
    filler_->Stop();
    fuse_session_exit(session);
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

Result<std::unique_ptr<FuseFrontend>> FuseFrontend::Create(Mount& mount, const Options& options,
                                                           Config config) {
  auto impl = std::make_unique<Impl>(mount, options, std::move(config));
  XZFS_RETURN_IF_ERROR(impl->MakeSession());
  return std::unique_ptr<FuseFrontend>(new FuseFrontend(std::move(impl)));
}

Status FuseFrontend::MountAt(const std::string& mountpoint) {
  errno = 0;
  if (fuse_session_mount(impl_->session, mountpoint.c_str()) != 0) {
    const int code = errno;
    const std::string text = TakeFuseLog();
    return Fail(code != 0 ? code : EIO, text.empty() ? std::string(kFusermountRefused) : text);
  }
  impl_->mounted = true;
  return {};
}

Status FuseFrontend::AttachSocket(int fd) {
  // Set member by member: later versions of libfuse have more members.
  static const struct fuse_custom_io io = [] {
    struct fuse_custom_io calls = {};
    calls.writev = [](int to, struct iovec* parts, int count, void*) -> ssize_t {
      return writev(to, parts, count);
    };
    calls.read = [](int from, void* buffer, size_t size, void*) -> ssize_t {
      return read(from, buffer, size);
    };
    return calls;
  }();
  if (const int error = fuse_session_custom_io(impl_->session, &io, fd); error != 0) {
    return Fail(error < 0 ? -error : EINVAL, "libfuse refused the socket");
  }
  return {};
}

Status FuseFrontend::Serve() { return impl_->Serve(); }

std::chrono::steady_clock::time_point FuseFrontend::last_request() const {
  return impl_->operations.last_request().Get();
}

void FuseFrontend::Stop() { impl_->Stop(); }

void FuseFrontend::Unmount() {
  if (std::exchange(impl_->mounted, false)) {
    fuse_session_unmount(impl_->session);
  }
}

}  // namespace xzfs
