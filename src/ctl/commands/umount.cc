// Unmounts, and waits for the daemon if that is asked for. The daemon outlives its mount: it
// compresses what is pending, then ends.
//
// After the unmount nobody can ask the mount for anything. So what --wait needs is opened before
// it: a descriptor of the daemon's process, which becomes readable when the process ends, and the
// file to which the daemon writes its notes, a JSON object a line. The mount's figures name both: a
// process number, and a descriptor of that process. These numbers mean something only if the daemon
// is among the processes that we see; the process's name is checked for that. If the wait is long,
// one message says why: the daemon is compressing, or a mount namespace still has the mount. At the
// end the last note tells which files are not compressed; there is a warning about them, or if
// there is no such note.
//
// A stale mount, whose daemon has exited, answers nothing. It is detached as the mount table has
// it.
#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/try.h"
#include "base/unique_fd.h"
#include "base/units.h"
#include "base/unmount.h"
#include "ctl/commands/commands.h"
#include "ctl/mounts/mount_client.h"
#include "ctl/mounts/mount_holders.h"

namespace xzfs {
namespace {

// The daemon that --wait waits for.
struct Daemon {
  pid_t pid = 0;
  dev_t device = 0;  // of the mount
  UniqueFd process;
  UniqueFd end_note;  // where it writes what it does at the end; invalid if we may not read it
};

// The last note, which is an object; an empty one if the daemon hasn't written any.
Json LastNote(const UniqueFd& end_note) {
  constexpr size_t kMostBytes = 65536;
  std::string text(kMostBytes, '\0');
  const ssize_t got = pread(end_note.get(), text.data(), text.size(), 0);
  text.resize(static_cast<size_t>(std::max<ssize_t>(got, 0)));
  if (text.ends_with('\n')) {
    text.pop_back();
  }
  const size_t line = text.rfind('\n') + 1;  // 0 if there is only one
  Json note = Json::parse(text.substr(line), nullptr, /*allow_exceptions=*/false);
  return note.is_object() ? note : Json::object();
}

// Errors: ESRCH if it isn't among the processes that we see.
Result<Daemon> OpenDaemon(const MountClient& mount) {
  XZFS_ASSIGN_OR_RETURN(const Json stats, mount.Stats());
  const auto pid = static_cast<pid_t>(NumberAt(stats, "/pid"));
  Daemon daemon;
  daemon.pid = pid;
  struct stat st = {};
  daemon.device = stat(mount.path().c_str(), &st) == 0 ? st.st_dev : 0;
  daemon.process.Reset(pid <= 0 ? -1 : static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  std::string name;
  std::getline(std::ifstream("/proc/" + std::to_string(pid) + "/comm"), name);
  // If the daemon is in another container, another process may have its number here.
  if (!daemon.process.valid() || name.find("xzfs") == std::string::npos) {
    return Fail(ESRCH, mount.path() +
                           ": its daemon is not among the processes here, so xzfsctl can't wait "
                           "for it; unmount without --wait");
  }
  const std::string note =
      "/proc/" + std::to_string(pid) + "/fd/" + std::to_string(stats.value("end_note", -1));
  daemon.end_note.Reset(open(note.c_str(), O_RDONLY | O_CLOEXEC));
  return daemon;
}

Status Unmount(const std::string& path) {
  if (umount2(path.c_str(), UMOUNT_NOFOLLOW) == 0) {
    return {};
  }
  int code = errno;
  if (code == EPERM) {
    const auto mount = FindXzfsMount(MountpointOf(path));
    if (mount && mount->user != getuid()) {
      return Fail(EPERM, path + ": only root and the user who mounted it (uid " +
                             std::to_string(mount->user) + ") may unmount it");
    }
    Status done = RunFusermount("-uq", path);
    if (done || done.error().code != EBUSY) {
      return done;
    }
    code = EBUSY;
  }
  return code == EBUSY
             ? Fail(EBUSY, path + " is in use: fuser -vm " + path + " shows the processes")
             : Status(FailErrno(code, "unmount " + path));
}

class UmountCommand : public Command {
 public:
  void Declare(Arguments& arguments) override {
    arguments.Flag("--wait", wait_, "return when the daemon has ended; exit 0: all is compressed");
    arguments.Operand("MNT", mount_, "the top of a mount");
  }

  Status Run(Console& console) override {
    const Result<MountClient> mount = MountClient::Open(mount_);
    if (!mount && mount.error().code == ENOTCONN) {
      return TakeDeadAway(console);
    }
    XZFS_RETURN_IF_ERROR(mount);
    Daemon daemon;
    if (wait_) {
      XZFS_ASSIGN_OR_RETURN(daemon, OpenDaemon(*mount));
    }
    XZFS_RETURN_IF_ERROR(Unmount(mount_));
    if (!wait_) {
      return {};
    }
    struct pollfd ended = {.fd = daemon.process.get(), .events = POLLIN, .revents = 0};
    constexpr int kPatienceMs = 2000;
    if (poll(&ended, 1, kPatienceMs) == 0) {
      console.Note(WhyItTakesLong(daemon));
    }
    while (poll(&ended, 1, -1) < 0 && errno == EINTR) {
    }
    TellWhatIsLeft(console, daemon.end_note);
    return {};
  }

 private:
  Status TakeDeadAway(Console& console) const {
    // It is detached: files that are open in it can't be used any more.
    if (!LazyUnmountIfStale(MountpointOf(mount_))) {
      return Fail(EPERM,
                  mount_ +
                      ": its daemon has exited, but it is not a mount of xzfs, or not yours: "
                      "only root and the user who mounted it may unmount it");
    }
    const std::string text = mount_ +
                             " was a stale mount: its daemon had exited. It is unmounted; the next "
                             "mount goes on with the files that were pending";
    if (wait_) {
      console.Warn(text);
    } else {
      console.Note(text);
    }
    return {};
  }

  std::string WhyItTakesLong(const Daemon& daemon) const {
    if (LastNote(daemon.end_note).contains("committing") || !daemon.end_note.valid()) {
      return mount_ +
             " is unmounted; its daemon is compressing the pending files (interrupting this "
             "command does not stop it)";
    }
    const std::string text = mount_ +
                             " is unmounted here, but another mount namespace (of a container or a "
                             "service) still has it, so its daemon goes on; ";
    const auto holder = FindMountHolder(daemon.device, daemon.pid);
    if (!holder) {
      return text + "it ends when no mount namespace has it any more";
    }
    const std::string pid = std::to_string(holder->process);
    return text + "process " + pid + " (" + holder->name + ") has it: end that, or nsenter -m -t " +
           pid + " umount " + holder->mountpoint;
  }

  void TellWhatIsLeft(Console& console, const UniqueFd& end_note) const {
    if (!end_note.valid()) {
      console.Warn(
          mount_ +
          " is unmounted; xzfsctl can't see whether all files were compressed, because its "
          "daemon has another version or belongs to another user");
      return;
    }
    const Json note = LastNote(end_note);
    if (!note.contains("pending")) {
      console.Warn(mount_ +
                   " is unmounted, but its daemon ended before it had compressed all files; the "
                   "next mount goes on with them");
      return;
    }
    const auto pending = static_cast<uint64_t>(NumberAt(note, "/pending"));
    const auto given_up = static_cast<uint64_t>(NumberAt(note, "/given_up"));
    if (const uint64_t left = pending + given_up; left != 0) {
      const Json::json_pointer first("/uncommitted/0/reason");
      const std::string why = note.contains(first) && note.at(first).is_string()
                                  ? note.at(first).get<std::string>()
                                  : note.value("last_error", "");
      console.Warn(mount_ + " is unmounted, but " + Counted(left, "file") +
                   (left == 1 ? " is" : " are") + " not compressed yet" +
                   (why.empty() ? "" : " (" + why + ")") + "; the next mount goes on with " +
                   (left == 1 ? "it" : "them"));
    }
  }

  bool wait_ = false;
  std::string mount_;
};

}  // namespace

std::unique_ptr<Command> MakeUmountCommand() { return std::make_unique<UmountCommand>(); }

}  // namespace xzfs
