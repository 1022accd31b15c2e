// Acting for the user whose request is answered.
#pragma once

#include <sys/types.h>

namespace xzfs {

// Who asks, and the bits that he doesn't want in the mode of what he makes.
struct Caller {
  uid_t uid = 0;
  gid_t gid = 0;
  mode_t umask = 0;
};

// Whether the calling thread has a capability, one of linux/capability.h.
bool HasRight(int capability);

// While it lives, what the calling thread makes belongs to the caller. The thread's rights stay:
// whether the caller may do it was decided by the kernel. Does nothing without root's rights: then
// everything is ours.
class AsCaller {
 public:
  explicit AsCaller(const Caller& caller);
  ~AsCaller();
  AsCaller(const AsCaller&) = delete;
  AsCaller& operator=(const AsCaller&) = delete;

 private:
  bool switched_ = false;
};

}  // namespace xzfs
