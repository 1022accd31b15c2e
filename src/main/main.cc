// xzfs: mounts a directory of .xz files as the plain files in them.
//
// The order matters. All checks happen in the process that the user waits for. No thread starts
// before the fork into the background. Paths are resolved and the source is opened before the
// process leaves the working directory, and before the mount may cover them.
#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "base/log.h"
#include "base/machine.h"
#include "main/background.h"
#include "main/command_line.h"
#include "main/completion.h"
#include "main/mount_checks.h"
#include "main/mount_service.h"
#include "main/signals.h"
#include "main/start_report.h"
#include "xz/block_decoder.h"

namespace xzfs {
namespace {

// From this size on malloc maps memory of its own for each request, and gives it back to the system
// when it is freed. Decoded Blocks and slices, dictionaries and decoder states are larger, so their
// memory is returned when the cache evicts them. Without the call glibc would raise the threshold
// up to 32 MiB when such pieces are freed, and keep them in its heap.
constexpr int kMapThresholdBytes = 256 << 10;

// A program may be started with stdio closed; descriptors that are opened later must not take its
// numbers.
void FillStdio() {
  int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  while (fd >= 0 && fd <= STDERR_FILENO) {
    fcntl(fd, F_SETFD, 0);
    fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  }
  if (fd >= 0) {
    close(fd);
  }
}

void PrepareProcess() {
  FillStdio();
  mallopt(M_MMAP_THRESHOLD, kMapThresholdBytes);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);  // then exceeding a limit of file sizes is a failed write
  umask(0);
  RaiseDescriptorLimit();
}

// mount(8)'s -N: the paths are in another mount namespace.
Status EnterMountNamespace(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid() || setns(fd.get(), CLONE_NEWNS) != 0) {
    return FailErrno(errno, "the mount namespace " + path);
  }
  return {};
}

// Points stdio at `null`: the daemon must not hold the terminal, and its output is not read.
void LeaveStdio(int null) {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    dup2(null, fd);
  }
}

ExitCode RunForeground(MountRequest request, int signal_fd) {
  const std::optional<Refusal> refusal = RunMount(std::move(request), signal_fd);
  return refusal ? PrintRefusal(*refusal) : ExitCode::kSuccess;
}

ExitCode RunDaemon(MountRequest request, int signal_fd, StartReporter& reporter) {
  // Opened now, since it can't be opened in the sandbox.
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  const LogLevel level = request.options.log_level;
  request.on_ready = [&reporter, &null, level] {
    // Warnings go to the terminal before this, and to the system's log after it.
    reporter.Ready();
    LogToSyslog(level);
    LeaveStdio(null.get());
  };
  const std::optional<Refusal> refusal = RunMount(std::move(request), signal_fd);
  if (refusal) {
    reporter.Refused(*refusal);
    return refusal->code;
  }
  return ExitCode::kSuccess;
}

// If set-id bits and devices have no effect in the source, they have none in the mount.
void InheritFlags(const MountPaths& paths, Options& options) {
  if (paths.source_is_nosuid) {
    (void)ApplyOption("nosuid", options);
  }
  if (paths.source_is_nodev) {
    (void)ApplyOption("nodev", options);
  }
}

ExitCode Mount(CommandLine line) {
  LogToStderr(line.debug ? LogLevel::kDebug : line.options.log_level);
  if (const Status resolved = ResolveDefaults(line.options); !resolved) {
    return PrintRefusal({ExitCode::kUsage, resolved.error().message});
  }
  if (!line.mount_namespace.empty()) {
    if (const Status entered = EnterMountNamespace(line.mount_namespace); !entered) {
      return PrintRefusal({ExitCode::kSystem, entered.error().message});
    }
  }
  auto paths = CheckPaths(line.source, line.mountpoint, ReadMountTable());
  if (!paths) {
    return PrintRefusal(paths.error());
  }
  if (const auto fuse = CheckFuse(FuseHost::Real(), line.options.allow_other); !fuse) {
    return PrintRefusal(fuse.error());
  }
  if (paths->source_is_read_only && !line.options.read_only) {
    // Else programs could write bytes that can't be stored.
    Log(LogLevel::kWarning,
        line.source + " is read-only, so the mount is read-only (-o ro silences this warning)");
    line.options.read_only = true;
  }
  if (!paths->shared_filesystem.empty() && !line.options.read_only && !line.options.single_client) {
    Log(LogLevel::kWarning,
        line.source + " lies on " + paths->shared_filesystem +
            ", where xzfs can't see what other machines or programs write, so the mount is "
            "read-only (if no others write there, use -o single_client; -o ro silences this "
            "warning)");
    line.options.read_only = true;
  }
  if (line.inherits_flags) {
    InheritFlags(*paths, line.options);
  }
  const Result<UniqueFd> signal_fd = CatchEndSignals();
  if (!signal_fd || chdir("/") != 0) {
    return PrintRefusal({ExitCode::kSystem, signal_fd ? "chdir /" : signal_fd.error().message});
  }
  MountRequest request;
  request.source = std::move(paths->source);
  request.source_name = paths->source_name;
  request.mountpoint = paths->mountpoint;
  request.options = line.options;
  request.debug = line.debug;
  request.single_threaded = line.single_threaded;
  if (line.foreground) {
    return RunForeground(std::move(request), signal_fd->get());
  }
  return RunInBackground(signal_fd->get(), paths->mountpoint, [&](StartReporter& reporter) {
    return RunDaemon(std::move(request), signal_fd->get(), reporter);
  });
}

ExitCode Main(const std::vector<std::string>& argv) {
  if (argv.size() > 1 && argv[1] == "--complete") {
    const std::string text = CompleteCommandLine({argv.begin() + 2, argv.end()}).Text();
    std::fputs(text.c_str(), stdout);
    return ExitCode::kSuccess;
  }
  PrepareProcess();
  Result<CommandLine> line = ParseCommandLine(argv, getuid() == 0 && geteuid() == 0);
  if (!line) {
    return PrintRefusal({ExitCode::kUsage, line.error().message});
  }
  switch (line->action) {
    case CommandLine::Action::kHelp:
      std::fputs(HelpText().c_str(), stdout);
      return ExitCode::kSuccess;
    case CommandLine::Action::kVersion:
      std::fputs(VersionText().c_str(), stdout);
      return ExitCode::kSuccess;
    case CommandLine::Action::kNothing:
      return ExitCode::kSuccess;
    case CommandLine::Action::kMount:
      break;
  }
  if (const Status liblzma = RequireLiblzma(); !liblzma) {
    return PrintRefusal({ExitCode::kSystem, liblzma.error().message});
  }
  return Mount(std::move(*line));
}

}  // namespace
}  // namespace xzfs

int main(int argc, char** argv) { return static_cast<int>(xzfs::Main({argv, argv + argc})); }
