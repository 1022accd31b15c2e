#include "base/caller.h"

#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

namespace xzfs {
namespace {

// From Linux 6.0 on the kernel removes the set-group-id bit from the mode that it asks for, if the
// caller, whose groups it knows, may not have it. Before that the file system did so.
bool KernelChecksSetGid() {
  static const bool checks = [] {
    struct utsname system = {};
    return uname(&system) == 0 && std::strtol(system.release, nullptr, 10) >= 6;
  }();
  return checks;
}

// A thread that gives up root's file system identity loses these from its effective set. It takes
// them back, as the caller's supplementary groups aren't known here. Without CAP_FSETID the kernel
// clears the set-group-id bit if the caller's main group is not the file's group.
void TakeBackRights() {
  constexpr uint32_t kAlways = (uint32_t{1} << CAP_DAC_OVERRIDE) |
                               (uint32_t{1} << CAP_DAC_READ_SEARCH) | (uint32_t{1} << CAP_FOWNER);
  const uint32_t rights = kAlways | (KernelChecksSetGid() ? uint32_t{1} << CAP_FSETID : 0);
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (syscall(SYS_capget, &header, data) == 0) {
    data[0].effective |= data[0].permitted & rights;
    syscall(SYS_capset, &header, data);
  }
}

}  // namespace

bool HasRight(int capability) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  const auto bit = static_cast<unsigned>(capability);
  return syscall(SYS_capget, &header, data) == 0 &&
         (data[bit / 32].effective & uint32_t{1} << bit % 32) != 0;
}

AsCaller::AsCaller(const Caller& caller) {
  if (geteuid() != 0 || (caller.uid == 0 && caller.gid == 0)) {
    return;
  }
  switched_ = true;
  // This acts on the thread, unlike setuid(2).
  setfsgid(caller.gid);
  setfsuid(caller.uid);
  if (caller.uid != 0) {
    TakeBackRights();
  }
}

AsCaller::~AsCaller() {
  if (switched_) {
    setfsuid(0);
    setfsgid(0);
  }
}

}  // namespace xzfs
