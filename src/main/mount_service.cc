// Two threads. The serving thread enters the sandbox, and so do all threads that it starts: the
// workers of the file system and of the FUSE session, and all others that look into stored files.
// The main thread stays outside, because Landlock forbids its task: to unmount at the end, for
// which an ordinary user also needs the set-user-ID program fusermount3. It never looks at the
// contents of files.
//
// With the option idle the main thread also unmounts when the mount was not used for so long, as
// umount(8) would: the kernel refuses that while a program uses the mount. Then serving ends as
// after any other unmount. Setting the option while the mount runs wakes the main thread.
#include "main/mount_service.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/unmount.h"
#include "control/figures.h"
#include "frontend/fuse_frontend.h"
#include "fs/mount.h"
#include "main/idle_watch.h"
#include "main/mount_checks.h"
#include "main/notify.h"
#include "main/sandbox.h"
#include "main/signals.h"

namespace xzfs {
namespace {

// A day: poll takes an int.
constexpr int64_t kLongestPollMs = int64_t{86400} * 1000;

// Makes the eventfd readable.
void Signal(int event) {
  const uint64_t one = 1;
  while (write(event, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

class MountService {
 public:
  explicit MountService(MountRequest request) : request_(std::move(request)) {}

  // Prepares everything, and mounts.
  std::optional<Refusal> SetUp();
  // Serves until the end. Returns the reason if the mount never answered.
  std::optional<Refusal> Run(int signal_fd);

 private:
  void OnReady();
  IdleWatch MakeIdleWatch();
  bool IsSettled();
  bool TryUnmountIdle();
  bool WaitForEnd(int signal_fd);
  void Serve();
  void Stop(int signal_fd);
  void EndCommits(int signal_fd);
  void NoteForWaiters(const std::string& line);

  MountRequest request_;
  Notifier notifier_ = Notifier::FromEnvironment();
  UniqueFd sandbox_root_;  // the source, for the sandbox's rule
  UniqueFd serving_ended_{eventfd(0, EFD_CLOEXEC)};
  UniqueFd options_changed_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  // A program that waits for our end opens this file through /proc before that. So it can read the
  // file even if we crash.
  UniqueFd end_note_{memfd_create("xzfs-end-note", MFD_CLOEXEC)};
  dev_t device_ = 0;  // of the mount
  std::atomic<bool> ready_{false};
  Status served_;  // written by the serving thread, read after its end
  std::unique_ptr<Mount> mount_;
  std::unique_ptr<FuseFrontend> frontend_;  // destroyed before the file system that it uses
};

std::optional<Refusal> MountService::SetUp() {
  sandbox_root_.Reset(fcntl(request_.source.get(), F_DUPFD_CLOEXEC, 0));
  if (!serving_ended_.valid() || !options_changed_.valid() || !end_note_.valid() ||
      !sandbox_root_.valid()) {
    return Refusal{ExitCode::kSystem, std::string("descriptors: ") + std::strerror(errno)};
  }
  auto mount = Mount::Create(std::move(request_.source), request_.options);
  if (!mount) {
    return Refusal{ExitCode::kMountFailed, mount.error().message};
  }
  mount_ = std::move(*mount);
  InstallControl(
      *mount_,
      {.source = request_.source_name, .version = XZFS_VERSION, .end_note = end_note_.get()});
  mount_->live.SetListener([this] { Signal(options_changed_.get()); });
  FuseFrontend::Config config;
  config.fsname = request_.source_name;
  config.debug = request_.debug;
  config.single_threaded = request_.single_threaded;
  // The kernel may make the filler wait for a page of a read that no other thread could answer.
  config.fill_page_cache = !request_.single_threaded;
  config.on_ready = [this] { OnReady(); };
  auto frontend = FuseFrontend::Create(*mount_, request_.options, std::move(config));
  if (!frontend) {
    return Refusal{ExitCode::kInternal, frontend.error().message};
  }
  frontend_ = std::move(*frontend);
  if (const Status mounted = frontend_->MountAt(request_.mountpoint); !mounted) {
    return ExplainMountError(mounted.error(), request_.mountpoint);
  }
  if (const auto own = FindXzfsMount(request_.mountpoint)) {
    device_ = own->device;
  }
  return std::nullopt;
}

void MountService::OnReady() {
  ready_ = true;
  if (request_.on_ready) {
    request_.on_ready();
  }
  notifier_.Send("READY=1");
}

void MountService::Serve() {
  EnterSandbox(sandbox_root_.get(), !request_.options.read_only);
  sandbox_root_.Reset();
  mount_->Start();
  served_ = frontend_->Serve();
  Signal(serving_ended_.get());
}

IdleWatch MountService::MakeIdleWatch() {
  using Clock = IdleWatch::Clock;
  return IdleWatch(
      {.now = [] { return Clock::now(); },
       .idle =
           [this] {
             const std::chrono::duration<double> idle(mount_->live.Get().idle_s);
             return std::chrono::duration_cast<Clock::duration>(idle);
           },
       .last_request = [this] { return ready_ ? frontend_->last_request() : Clock::now(); },
       .is_settled = [this] { return IsSettled(); },
       .try_unmount = [this] { return TryUnmountIdle(); }});
}

// Nothing waits to be compressed, and no search for cold files is at work.
bool MountService::IsSettled() {
  const auto cold = mount_->cold.figures();
  if (mount_->committer.is_idle() && !(cold && cold->walking)) {
    return true;
  }
  Log(LogLevel::kDebug, request_.mountpoint + " is idle, but files wait to be compressed");
  return false;
}

bool MountService::TryUnmountIdle() {
  if (!UnmountUnused(request_.mountpoint, device_)) {
    Log(LogLevel::kDebug, request_.mountpoint + " is idle, but in use");
    return false;
  }
  Log(LogLevel::kInfo,
      request_.mountpoint + " was not used for as long as idle says: it is unmounted");
  return true;
}

// Until serving has ended by itself, or a signal comes: then it returns false. Meanwhile it
// unmounts the mount if that is idle.
bool MountService::WaitForEnd(int signal_fd) {
  IdleWatch watch = MakeIdleWatch();
  while (true) {
    int pause_ms = -1;
    if (const auto pause = watch.Look()) {
      // Rounded up, so that it doesn't look a moment too early again and again.
      const auto ms = std::chrono::ceil<std::chrono::milliseconds>(*pause);
      pause_ms = static_cast<int>(std::min<int64_t>(ms.count(), kLongestPollMs));
    }
    struct pollfd fds[3] = {{serving_ended_.get(), POLLIN, 0},
                            {signal_fd, POLLIN, 0},
                            {options_changed_.get(), POLLIN, 0}};
    if (poll(fds, 3, pause_ms) <= 0) {
      continue;
    }
    if (fds[0].revents != 0) {
      return true;
    }
    if (fds[1].revents != 0 && TakeSignal(signal_fd) != 0) {
      return false;
    }
    uint64_t changes = 0;
    static_cast<void>(!read(options_changed_.get(), &changes, sizeof changes));  // resets it
  }
}

// After the first signal. A second one does not wait for requests that are being answered.
void MountService::Stop(int signal_fd) {
  notifier_.Send("STOPPING=1");
  frontend_->Stop();
  if (!WaitForOther(signal_fd, serving_ended_.get())) {
    LazyUnmount(request_.mountpoint);
    _exit(static_cast<int>(ExitCode::kSuccess));
  }
}

// Commits all pending files; a signal (another one, if one ended the mount) parks them.
void MountService::EndCommits(int signal_fd) {
  NoteForWaiters(CommittingNote(*mount_));
  const UniqueFd ended(eventfd(0, EFD_CLOEXEC));
  std::thread finishing([this, &ended] {
    mount_->commits.EndCommits(Committer::Ending::kWhenDone);
    Signal(ended.get());
  });
  if (!WaitForOther(signal_fd, ended.get())) {
    mount_->commits.ParkCommits();
  }
  finishing.join();
  NoteForWaiters(EndNote(*mount_));
}

// The last line counts.
void MountService::NoteForWaiters(const std::string& line) {
  if (const std::string note = line + "\n"; write(end_note_.get(), note.data(), note.size()) < 0) {
    Log(LogLevel::kWarning,
        std::string("can't write the note for xzfsctl umount --wait: ") + std::strerror(errno));
  }
}

std::optional<Refusal> MountService::Run(int signal_fd) {
  std::thread serving([this] { Serve(); });
  const bool ended_by_itself = WaitForEnd(signal_fd);
  if (ended_by_itself) {
    notifier_.Send("STOPPING=1");
  } else {
    Stop(signal_fd);
  }
  serving.join();
  frontend_->Unmount();
  EndCommits(signal_fd);
  if (ready_) {
    if (!served_) {
      Log(LogLevel::kError, "serving ended: " + served_.error().message);
    }
    return std::nullopt;
  }
  if (!ended_by_itself) {
    return Refusal{ExitCode::kInterrupted, "interrupted before the mount was ready"};
  }
  return Refusal{ExitCode::kMountFailed, request_.mountpoint +
                                             ": it was unmounted before it answered" +
                                             (served_ ? "" : ": " + served_.error().message)};
}

}  // namespace

std::optional<Refusal> RunMount(MountRequest request, int signal_fd) {
  MountService service(std::move(request));
  if (std::optional<Refusal> refusal = service.SetUp()) {
    return refusal;
  }
  return service.Run(signal_fd);
}

}  // namespace xzfs
