// Acting for the user whose request is being answered.
#pragma once

#include <sys/types.h>

namespace xzfs {

// The user and group of a request, and the umask for the files that it makes.
struct Caller {
  uid_t uid = 0;
  gid_t gid = 0;
  mode_t umask = 0;
};

// Whether the calling thread has a capability, one of linux/capability.h.
bool HasRight(int capability);

// While it lives, files that the calling thread makes belong to the caller. The thread keeps its
// rights, as the kernel has decided whether the caller may do this. Without root's rights it does
// nothing: then all files belong to us.
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
