// Each function looks at one thing and returns what it found. A check never fails: if it can't find
// something out it returns a note, or nothing. It judges what the user who runs xzfsctl needs, not
// what root or other users need.
//
// /dev/fuse is opened and closed again: the kernel takes that for no mount. The rights of the
// process are read from /proc, because a container may take from root what root has elsewhere.
#include "ctl/doctor/host.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string_view>

#include "base/machine.h"
#include "base/unique_fd.h"
#include "base/units.h"
#include "xz/block_decoder.h"

namespace xzfs {
namespace {

using Level = Finding::Level;

// A daemon raises its limit to the hard one. Each file that is open for writing takes one or two
// descriptors, and the cache of open files takes the more the better.
constexpr rlim_t kFewDescriptors = 4096;
// A daemon starts up to 64 threads for requests, and some for each processor.
constexpr rlim_t kFewProcesses = 512;
// The least cache_size is 32 MiB, and a decoder of `xz -9` takes 65 MiB.
constexpr uint64_t kLittleMemory = uint64_t{192} << 20;
// The default cache_size is a quarter of the memory in these bounds.
constexpr uint64_t kLeastCacheBytes = uint64_t{32} << 20;
constexpr uint64_t kMostCacheBytes = uint64_t{4} << 30;
// Restart points of giant Blocks go to a temporary file.
constexpr uint64_t kLittleSpace = uint64_t{256} << 20;

// The first line that `program -V` prints, and the second; empty if it can't be run.
std::pair<std::string, std::string> VersionLines(const std::string& program) {
  const std::string command = "exec '" + program + "' -V 2>/dev/null";
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(
      program.empty() || program.find('\'') != std::string::npos ? nullptr
                                                                 : popen(command.c_str(), "re"),
      [](FILE* file) { return file == nullptr ? 0 : pclose(file); });
  char first[256] = "";
  char second[256] = "";
  if (pipe != nullptr && std::fgets(first, sizeof first, pipe.get()) != nullptr) {
    static_cast<void>(std::fgets(second, sizeof second, pipe.get()));
  }
  return {std::string(first, std::strcspn(first, "\n")),
          std::string(second, std::strcspn(second, "\n"))};
}

Finding LookAtVersions(const DoctorHost& host) {
  const std::string own = "xzfsctl " XZFS_VERSION " with liblzma " + LiblzmaVersion();
  const auto [version, built] = VersionLines(host.xzfs);
  if (version.empty()) {
    return {Level::kWarning, "versions",
            own + ", but there is no program xzfs beside it or in the path: nothing can be mounted",
            "apt install xzfs"};
  }
  if (version != "xzfs " XZFS_VERSION) {
    return {Level::kWarning, "versions",
            own + ", but " + host.xzfs + " is " + version +
                ": install both from one package, or remove the one that is left over",
            "command -v xzfs xzfsctl"};
  }
  return {Level::kOk, "versions", own + "; xzfs was " + built, ""};
}

// Whether the kernel lists the file system.
bool HasFileSystem(const std::string& proc, const std::string& name) {
  std::ifstream list(proc + "/filesystems");
  for (std::string line; std::getline(list, line);) {
    if (line.substr(line.rfind('\t') + 1) == name) {
      return true;
    }
  }
  return false;
}

Finding LookAtKernel(const DoctorHost& host) {
  struct utsname system = {};
  uname(&system);
  const std::string name = std::string(system.sysname) + " " + system.release;
  if (!HasFileSystem(host.proc, "fuse")) {
    return {Level::kProblem, "kernel", name + " has no FUSE, or has not loaded it",
            "modprobe fuse"};
  }
  const bool has_landlock =
      syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 1;
  if (!has_landlock) {
    return {Level::kNote, "kernel",
            name + " has FUSE, but no Landlock: mounts work, and run without a sandbox", ""};
  }
  return {Level::kOk, "kernel", name + " has FUSE and Landlock", ""};
}

Finding LookAtDevice(const DoctorHost& host) {
  const std::string& path = host.fuse.device;
  const UniqueFd device(open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (device.valid()) {
    return {Level::kOk, path, "this user may use it", ""};
  }
  const int code = errno;
  const std::string why = std::strerror(code);
  if (code == EACCES || code == EPERM) {
    return {Level::kProblem, path,
            why +
                ": it must be readable and writable for this user; a container must be allowed to "
                "use it (--device /dev/fuse)",
            "chmod 0666 " + path};
  }
  return {Level::kProblem, path,
          why + ": load the module, or pass the device to the container (--device /dev/fuse)",
          "modprobe fuse"};
}

// A field of /proc/self/status; nothing if there is none.
std::optional<std::string> StatusField(const std::string& proc, const std::string& name) {
  std::ifstream status(proc + "/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name + ":")) {
      return line.substr(std::min(line.find_first_not_of(" \t", name.size() + 1), line.size()));
    }
  }
  return std::nullopt;
}

// Root calls mount(2) itself.
Finding LookAtRightToMount(const DoctorHost& host) {
  const auto effective = StatusField(host.proc, "CapEff");
  const uint64_t rights = effective ? std::strtoull(effective->c_str(), nullptr, 16) : ~uint64_t{0};
  if ((rights >> CAP_SYS_ADMIN & 1) == 0) {
    return {Level::kProblem, "right to mount",
            "root has no CAP_SYS_ADMIN here, as in most containers, so it can't mount", ""};
  }
  return {Level::kOk, "right to mount", "root mounts without fusermount3", ""};
}

// For other users the program fusermount3 does it, which is set-user-ID root.
Finding LookAtFusermount(const DoctorHost& host) {
  const std::string path = FindProgram(host.fuse.search_path, "fusermount3");
  if (path.empty()) {
    return {Level::kProblem, "fusermount3", "is missing; without it only root can mount",
            "apt install fuse3"};
  }
  struct stat st = {};
  if (stat(path.c_str(), &st) != 0 || (st.st_mode & S_ISUID) == 0 || st.st_uid != 0) {
    return {Level::kProblem, path, "is not set-user-ID root, so it can't mount for this user",
            "chown root " + path + " && chmod u+s " + path};
  }
  struct statvfs fs = {};
  if (statvfs(path.c_str(), &fs) == 0 && (fs.f_flag & ST_NOSUID) != 0) {
    return {Level::kProblem, path, "lies on a file system that is mounted with nosuid",
            "findmnt -T " + path};
  }
  if (StatusField(host.proc, "NoNewPrivs").value_or("0") != "0") {
    return {Level::kProblem, path,
            "this process has no_new_privs, so set-user-ID programs have no effect: use another "
            "session",
            ""};
  }
  return {Level::kOk, path, "is set-user-ID root", ""};
}

Finding LookAtConfiguration(const DoctorHost& host) {
  const std::string& path = host.fuse.configuration;
  if (UserAllowOther(path)) {
    return {Level::kOk, path, "every user may mount with allow_other", ""};
  }
  if (host.fuse.user == 0) {
    return {Level::kOk, path, "only root may mount with allow_other", ""};
  }
  return {Level::kNote, path, "this user may not mount with allow_other: only root can permit it",
          "echo user_allow_other | sudo tee -a " + path};
}

Finding LookAtDescriptors() {
  struct rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  const std::string most = fmt::format("up to {} at once", limit.rlim_max);
  return limit.rlim_max >= kFewDescriptors
             ? Finding{Level::kOk, "open files", most, ""}
             : Finding{Level::kWarning, "open files",
                       most +
                           ": a daemon needs one or two for each file that is open for writing; "
                           "raise the hard limit (LimitNOFILE= of a service)",
                       "ulimit -Hn"};
}

Finding LookAtProcesses(const DoctorHost& host) {
  struct rlimit limit = {};
  getrlimit(RLIMIT_NPROC, &limit);
  if (limit.rlim_cur >= kFewProcesses || host.fuse.user == 0) {
    return {Level::kOk, "threads", "a daemon may make as many as it needs", ""};
  }
  return {Level::kWarning, "threads",
          fmt::format("this user may have {} processes and threads; a daemon alone may need 100",
                      limit.rlim_cur),
          "ulimit -Hu"};
}

Finding LookAtMemory() {
  const uint64_t bytes = UsableMemory();
  const uint64_t cache = std::clamp(bytes / 4, kLeastCacheBytes, kMostCacheBytes);
  const std::string text =
      FormatSize(bytes) + " may be used, so cache_size is " + FormatSize(cache) + " by default";
  if (bytes >= kLittleMemory) {
    return {Level::kOk, "memory", text, ""};
  }
  return {Level::kWarning, "memory",
          text +
              ": files of xz -9 need 65 MiB for a decoder; raise the limit of the container or "
              "the cgroup",
          "systemctl show -p MemoryMax SERVICE"};
}

Finding LookAtTemporaryFolder() {
  const std::string folder = TemporaryFolder();
  const uint64_t free = FreeSpace(folder);
  const bool may_write = access(folder.c_str(), W_OK | X_OK) == 0;
  if (may_write && free >= kLittleSpace) {
    return {Level::kOk, folder, FormatSize(free) + " are free for restart points of giant Blocks",
            ""};
  }
  return {Level::kNote, folder,
          (may_write ? "only " + FormatSize(free) + " are free" : std::string("is not writable")) +
              ": reads at random in giant Blocks get slower; set TMPDIR to another folder for xzfs",
          "df -h " + folder};
}

}  // namespace

DoctorHost DoctorHost::Real() {
  DoctorHost host{.fuse = FuseHost::Real(), .xzfs = {}};
  char self[4096] = {};
  const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  const std::string own(self, static_cast<size_t>(std::max<ssize_t>(length, 0)));
  const std::string folder = own.substr(0, std::min(own.rfind('/'), own.size()));
  host.xzfs = FindProgram(folder + ":" + host.fuse.search_path, "xzfs");
  return host;
}

Findings LookAtHost(const DoctorHost& host) {
  const bool is_root = host.fuse.user == 0;
  return {LookAtVersions(host),      LookAtKernel(host),
          LookAtDevice(host),        is_root ? LookAtRightToMount(host) : LookAtFusermount(host),
          LookAtConfiguration(host), LookAtDescriptors(),
          LookAtProcesses(host),     LookAtMemory(),
          LookAtTemporaryFolder()};
}

}  // namespace xzfs
