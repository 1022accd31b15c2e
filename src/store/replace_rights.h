// What must be allowed so that a file's changes can be stored: asked before anything is accepted or
// encoded that could not be.
#pragma once

#include <sys/stat.h>

#include <string>

#include "base/os.h"
#include "xzfs/result.h"

namespace xzfs {

// Whether the stored file `name` may be written to. Errors: what the source would say: EPERM of an
// immutable or append-only file, EROFS, EACCES; what the look itself met.
Status MayChange(Os& os, int dir, const std::string& name);

// Whether its times may be set, `to_now` or to any. Errors: likewise.
Status MayChangeTimes(Os& os, int dir, const std::string& name, bool to_now);

// Whether `name` may be removed from `dir`, or replaced there by another file. Errors: likewise;
// EPERM in a directory that only grows, and in a sticky one of others; EXDEV of a mount point.
Status MayReplace(Os& os, int dir, const std::string& name);

// Whether a file of ours can be given the owner of the file that `st` is of.
bool MayGiveOwner(const struct stat& st);

}  // namespace xzfs
