// The rights that are needed to store the changes of a file. They are checked before a change is
// accepted or encoded.
#pragma once

#include <sys/stat.h>

#include <string>

#include "base/os.h"
#include "xzfs/result.h"

namespace xzfs {

// Whether the stored file `name` may be written to. Errors: as of the source: EPERM if it is
// immutable or append-only, EROFS, EACCES; and errors of the check itself.
Status MayChange(Os& os, int dir, const std::string& name);

// Whether its times may be set: only `to_now`, or to any time. Errors: likewise.
Status MayChangeTimes(Os& os, int dir, const std::string& name, bool to_now);

// Whether `name` may be removed from `dir`, or replaced there by another file. Errors: likewise;
// EPERM in an append-only directory, and in a sticky one of another user; EXDEV for a mount point.
Status MayReplace(Os& os, int dir, const std::string& name);

// Whether we may give a file of ours the owner that `st` names.
bool MayGiveOwner(const struct stat& st);

}  // namespace xzfs
