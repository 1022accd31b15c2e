#include "store/replace_rights.h"

#include <linux/capability.h>
#include <unistd.h>

#include <cerrno>

#include "base/caller.h"
#include "base/quoted.h"
#include "base/try.h"

namespace xzfs {
namespace {

Status IsFree(const FileFacts& facts, const std::string& what) {
  if (facts.is_immutable || facts.is_append_only) {
    return Fail(EPERM, what + (facts.is_immutable ? " is immutable" : " may only be appended to") +
                           " (see lsattr)");
  }
  return {};
}

}  // namespace

Status MayChange(Os& os, int dir, const std::string& name) {
  FileFacts facts;
  int error = os.FactsAt(dir, name, &facts);
  if (error < 0) {
    return FailErrno(-error, "stat " + Quoted(name));
  }
  XZFS_RETURN_IF_ERROR(IsFree(facts, Quoted(name)));
  error = os.MayWriteAt(dir, name);
  return error < 0 ? Status(FailErrno(-error, Quoted(name) + " may not be written to")) : Status();
}

Status MayChangeTimes(Os& os, int dir, const std::string& name, bool to_now) {
  FileFacts facts;
  if (const int error = os.FactsAt(dir, name, &facts); error < 0) {
    return FailErrno(-error, "stat " + Quoted(name));
  }
  if (facts.is_immutable || !to_now) {
    XZFS_RETURN_IF_ERROR(IsFree(facts, Quoted(name)));
  }
  return os.MayWriteAt(dir, name) == -EROFS ? Status(FailErrno(EROFS, "times of " + Quoted(name)))
                                            : Status();
}

Status MayReplace(Os& os, int dir, const std::string& name) {
  FileFacts file;
  FileFacts directory;
  int error = os.FactsAt(dir, name, &file);
  error = error < 0 ? error : os.FactsAt(dir, "", &directory);
  if (error < 0) {
    return FailErrno(-error, "stat " + Quoted(name));
  }
  XZFS_RETURN_IF_ERROR(IsFree(file, Quoted(name)));
  XZFS_RETURN_IF_ERROR(IsFree(directory, "the directory of " + Quoted(name)));
  error = os.MayWriteAt(dir, ".");
  if (error < 0) {
    return FailErrno(-error, "the directory of " + Quoted(name) + " may not be changed");
  }
  const uid_t user = geteuid();
  const struct stat& st = directory.attributes;
  if ((st.st_mode & S_ISVTX) != 0 && st.st_uid != user && file.attributes.st_uid != user &&
      !HasRight(CAP_FOWNER)) {
    return Fail(EPERM, Quoted(name) + " belongs to another user, in a sticky directory");
  }
  if (file.mount_id != directory.mount_id) {
    return Fail(EXDEV, Quoted(name) + " is a mount point");
  }
  return {};
}

bool MayGiveOwner(const struct stat& st) { return st.st_uid == geteuid() || HasRight(CAP_CHOWN); }

}  // namespace xzfs
