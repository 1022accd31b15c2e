// Uses the system calls of Landlock: the C library has no functions for them, and Debian 12's
// kernel header is older than the kernel that we may run on. A kernel refuses rights that it
// doesn't know, hence the table by ABI version.
//
// /proc need not be allowed: opening /proc/self/fd/N opens the descriptor's file, which lies
// beneath the source.
#include "main/sandbox.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <string>

#include "base/log.h"
#include "base/unique_fd.h"

namespace xzfs {
namespace {

// struct landlock_ruleset_attr as it is since ABI 4.
struct RulesetAttributes {
  uint64_t handled_access_fs;
  uint64_t handled_access_net;
};

// Not in the headers of Debian 12.
constexpr uint64_t kAccessFsTruncate = uint64_t{1} << 14;    // ABI 3
constexpr uint64_t kAccessFsIoctlDev = uint64_t{1} << 15;    // ABI 5
constexpr uint64_t kAccessNetBindTcp = uint64_t{1} << 0;     // ABI 4
constexpr uint64_t kAccessNetConnectTcp = uint64_t{1} << 1;  // ABI 4

constexpr uint64_t kAccessFsAbi1 = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;

RulesetAttributes Everything(long abi) {
  RulesetAttributes attributes{kAccessFsAbi1, 0};
  if (abi >= 2) {
    attributes.handled_access_fs |= LANDLOCK_ACCESS_FS_REFER;
  }
  if (abi >= 3) {
    attributes.handled_access_fs |= kAccessFsTruncate;
  }
  if (abi >= 4) {
    attributes.handled_access_net = kAccessNetBindTcp | kAccessNetConnectTcp;
  }
  if (abi >= 5) {
    attributes.handled_access_fs |= kAccessFsIoctlDev;
  }
  return attributes;
}

// True if the calling thread is now confined.
bool Confine(int source, bool may_write) {
  const long abi =
      syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (abi < 1) {
    return false;
  }
  const RulesetAttributes handled = Everything(abi);
  const size_t known_bytes = abi >= 4 ? sizeof handled : sizeof handled.handled_access_fs;
  const UniqueFd ruleset(
      static_cast<int>(syscall(SYS_landlock_create_ruleset, &handled, known_bytes, 0)));
  if (!ruleset.valid()) {
    return false;
  }
  landlock_path_beneath_attr beneath{};
  // Never allowed: executing, and ioctls of devices.
  beneath.allowed_access =
      may_write ? handled.handled_access_fs & ~(LANDLOCK_ACCESS_FS_EXECUTE | kAccessFsIoctlDev)
                : LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
  beneath.parent_fd = source;
  return syscall(SYS_landlock_add_rule, ruleset.get(), LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) ==
             0 &&
         syscall(SYS_landlock_restrict_self, ruleset.get(), 0) == 0;
}

}  // namespace

void EnterSandbox(int source, bool may_write) {
  // syslog(3) reads the time zone's file once, which can't be opened in the sandbox.
  tzset();
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    Log(LogLevel::kDebug, std::string("sandbox: no_new_privs: ") + std::strerror(errno));
  }
  if (!Confine(source, may_write)) {
    Log(LogLevel::kDebug, std::string("sandbox: no Landlock: ") + std::strerror(errno));
  }
}

}  // namespace xzfs
