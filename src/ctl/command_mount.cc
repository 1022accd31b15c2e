// What a mount can be asked to do: set, sync, drop-cache, umount.
#include <poll.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "ctl/commands.h"
#include "ctl/mount_client.h"

extern char** environ;

namespace xzfs {
namespace {

class SetCommand : public Command {
 public:
  void Declare(Arguments& arguments) override {
    arguments.Operand("MNT", mount_, "the top of a mount");
    // Newer CLI11 takes no '=' in a name.
    arguments.Operands(
        "SETTING", settings_,
        "KEY=VALUE: cache_size, compress_threads, settle, preset or log_level, as in "
        "xzfs -o");
  }

  Status Run(Console& console) override {
    XZFS_ASSIGN_OR_RETURN(const MountClient mount, MountClient::Open(mount_));
    for (const std::string& setting : settings_) {
      if (const Status set = mount.Command("set." + setting); !set) {
        console.Error(set.error().message);
      }
    }
    return {};
  }

 private:
  std::string mount_;
  std::vector<std::string> settings_;
};

// One that takes a mount and asks it to do one thing.
class PlainCommand : public Command {
 public:
  explicit PlainCommand(std::string command) : command_(std::move(command)) {}

  void Declare(Arguments& arguments) override {
    arguments.Operands("MNT", mounts_, "tops of mounts");
  }

  Status Run(Console& console) override {
    for (const std::string& path : mounts_) {
      const auto mount = MountClient::Open(path);
      const Status done = mount ? mount->Command(command_) : tl::unexpected(mount.error());
      if (!done) {
        console.Error(done.error().message);
      }
    }
    return {};
  }

 private:
  const std::string command_;
  std::vector<std::string> mounts_;
};

// The daemon's process, to be waited for. Errors: ESRCH if it isn't among those that we see.
Result<UniqueFd> OpenDaemon(const MountClient& mount) {
  XZFS_ASSIGN_OR_RETURN(const Json stats, mount.Stats());
  const auto pid = static_cast<pid_t>(NumberAt(stats, "/pid"));
  UniqueFd daemon(pid <= 0 ? -1 : static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  std::string name;
  std::getline(std::ifstream("/proc/" + std::to_string(pid) + "/comm"), name);
  // In another container the number may be somebody else's here.
  if (!daemon.valid() || name.find("xzfs") == std::string::npos) {
    return Fail(ESRCH, mount.path() +
                           ": its daemon is not among the processes here, so its end can't be "
                           "waited for; unmount without --wait");
  }
  return daemon;
}

// As an ordinary user unmounts: by the set-user-ID program of fuse3.
Status RunFusermount(const std::string& path) {
  std::vector<std::string> words = {"fusermount3", "-u", "--", path};
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) {
    argv.push_back(word.data());
  }
  argv.push_back(nullptr);
  pid_t child = 0;
  if (const int error = posix_spawnp(&child, argv[0], nullptr, nullptr, argv.data(), environ);
      error != 0) {
    return FailErrno(error, "fusermount3 (package fuse3)");
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status == 0 ? Status() : Fail(EBUSY, path + " was not unmounted");
}

Status Unmount(const std::string& path) {
  if (umount2(path.c_str(), UMOUNT_NOFOLLOW) == 0) {
    return {};
  }
  if (errno == EBUSY) {
    return Fail(EBUSY, path + " is in use: fuser -vm " + path + " shows by whom");
  }
  return errno == EPERM ? RunFusermount(path) : Status(FailErrno(errno, "unmount " + path));
}

class UmountCommand : public Command {
 public:
  void Declare(Arguments& arguments) override {
    arguments.Flag("--wait", wait_,
                   "return when the daemon has ended: all that was pending is compressed");
    arguments.Operand("MNT", mount_, "the top of a mount");
  }

  Status Run(Console& console) override {
    XZFS_ASSIGN_OR_RETURN(const MountClient mount, MountClient::Open(mount_));
    UniqueFd daemon;
    if (wait_) {
      XZFS_ASSIGN_OR_RETURN(daemon, OpenDaemon(mount));
    }
    XZFS_RETURN_IF_ERROR(Unmount(mount_));
    if (!wait_) {
      return {};
    }
    struct pollfd ended = {.fd = daemon.get(), .events = POLLIN, .revents = 0};
    constexpr int kPatienceMs = 2000;
    if (poll(&ended, 1, kPatienceMs) == 0) {
      console.Note(mount_ + " is unmounted; its daemon compresses what is pending (interrupting " +
                   "this command doesn't interrupt that)");
    }
    while (poll(&ended, 1, -1) < 0 && errno == EINTR) {
    }
    return {};
  }

 private:
  bool wait_ = false;
  std::string mount_;
};

}  // namespace

std::unique_ptr<Command> MakeSetCommand() { return std::make_unique<SetCommand>(); }
std::unique_ptr<Command> MakeSyncCommand() { return std::make_unique<PlainCommand>("sync"); }
std::unique_ptr<Command> MakeDropCacheCommand() {
  return std::make_unique<PlainCommand>("drop-cache");
}
std::unique_ptr<Command> MakeUmountCommand() { return std::make_unique<UmountCommand>(); }

}  // namespace xzfs
