#include "base/caller.h"

#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace xzfs {
namespace {

// Giving up root's file system identity takes these from the effective set; they are taken back, as
// the caller's supplementary groups aren't known here. CAP_FSETID stays away: the kernel then
// clears the set-group-id bit where the caller may not have it.
void TakeBackRights() {
  constexpr uint32_t kRights = (uint32_t{1} << CAP_DAC_OVERRIDE) |
                               (uint32_t{1} << CAP_DAC_READ_SEARCH) | (uint32_t{1} << CAP_FOWNER);
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (syscall(SYS_capget, &header, data) == 0) {
    data[0].effective |= data[0].permitted & kRights;
    syscall(SYS_capset, &header, data);
  }
}

}  // namespace

AsCaller::AsCaller(const Caller& caller) {
  if (geteuid() != 0 || (caller.uid == 0 && caller.gid == 0)) {
    return;
  }
  switched_ = true;
  // Per thread, unlike setuid(2).
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
