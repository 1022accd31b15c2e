// Two threads. The serving thread enters the sandbox, and so do all threads that it starts: the
// workers of the file system and of the FUSE session, and all others that look into stored files.
// The main thread stays outside, because Landlock forbids its task: to unmount at the end, for
// which an ordinary user also needs the set-user-ID program fusermount3. It never looks at the
// contents of files.
#include "main/mount_service.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
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
#include "main/mount_checks.h"
#include "main/notify.h"
#include "main/sandbox.h"
#include "main/signals.h"

namespace xzfs {
namespace {

class MountService {
 public:
  explicit MountService(MountRequest request) : request_(std::move(request)) {}

  // Prepares everything, and mounts.
  std::optional<Refusal> SetUp();
  // Serves until the end. Returns the reason if the mount never answered.
  std::optional<Refusal> Run(int signal_fd);

 private:
  void OnReady();
  void Serve();
  void Stop(int signal_fd);
  void EndCommits(int signal_fd);
  void NoteForWaiters(const std::string& line);

  MountRequest request_;
  Notifier notifier_ = Notifier::FromEnvironment();
  UniqueFd sandbox_root_;  // the source, for the sandbox's rule
  UniqueFd serving_ended_{eventfd(0, EFD_CLOEXEC)};
  // A program that waits for our end opens this file through /proc before that. So it can read the
  // file even if we crash.
  UniqueFd end_note_{memfd_create("xzfs-end-note", MFD_CLOEXEC)};
  std::atomic<bool> ready_{false};
  Status served_;  // written by the serving thread, read after its end
  std::unique_ptr<Mount> mount_;
  std::unique_ptr<FuseFrontend> frontend_;  // destroyed before the file system that it uses
};

std::optional<Refusal> MountService::SetUp() {
  sandbox_root_.Reset(fcntl(request_.source.get(), F_DUPFD_CLOEXEC, 0));
  if (!serving_ended_.valid() || !end_note_.valid() || !sandbox_root_.valid()) {
    return Refusal{ExitCode::kSystem, std::string("descriptors: ") + std::strerror(errno)};
  }
  auto mount = Mount::Create(std::move(request_.source), request_.options);
  if (!mount) {
    return Refusal{ExitCode::kMountFailed, mount.error().message};
  }
  mount_ = std::move(*mount);
  InstallControl(*mount_, end_note_.get());
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
  const uint64_t one = 1;
  while (write(serving_ended_.get(), &one, sizeof one) < 0 && errno == EINTR) {
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
    const uint64_t one = 1;
    while (write(ended.get(), &one, sizeof one) < 0 && errno == EINTR) {
    }
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
  const bool ended_by_itself = WaitForOther(signal_fd, serving_ended_.get());
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
