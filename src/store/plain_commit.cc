// The caller takes the steps in their order. Each function here does no harm if another program was
// faster. A function that changes a name first looks whether the files are still the ones that were
// compressed (Identity, StoredKey), and otherwise says ESTALE. A new file never replaces another
// one: its name was free, or the two exchange their names.
//
// Something may happen between the look and the step, so two more things help. A lease shows that a
// program has opened the plain file for writing. PutAside moves the file first and then looks at
// what it has moved: if that is another file, both get their names back. If even this fails, the
// claim on the disk lets the next mount do it.
//
// Leases and locks are an extra: where the file system has none, the commit goes on without them.
// What a crash after each step leaves is in docs/commit.md.
#include "store/plain_commit.h"

#include <linux/fs.h>
#include <linux/limits.h>

#include <cerrno>
#include <span>

#include "base/quoted.h"
#include "base/try.h"
#include "store/intents.h"
#include "store/kept_times.h"
#include "store/names.h"
#include "store/settle_claims.h"

namespace xzfs {
namespace {

// Setting these attributes needs rights that we may lack, and what they say about the old file may
// not be true of the new one.
bool IsForeignXattr(const std::string& key) {
  return key.starts_with("security.") || key.starts_with("trusted.");
}

Status CopyXattrs(Os& os, int from, int to) {
  std::string names(XATTR_LIST_MAX, '\0');
  const ssize_t length = os.FListXattr(from, names);
  if (length == -EOPNOTSUPP || length == 0) {
    return {};
  }
  if (length < 0) {
    return FailErrno(static_cast<int>(-length), "list the attributes");
  }
  std::string value(XATTR_SIZE_MAX, '\0');
  for (size_t at = 0; at < static_cast<size_t>(length);) {
    const std::string key(names.c_str() + at);
    at += key.size() + 1;
    const ssize_t bytes = os.FGetXattr(from, key, value);
    int error = bytes < 0 ? static_cast<int>(bytes) : 0;
    if (error == 0) {
      error = os.FSetXattr(to, key, std::span(value.data(), static_cast<size_t>(bytes)), 0);
    }
    if (error < 0 && !IsForeignXattr(key)) {
      return FailErrno(-error, "copy the attribute " + key);
    }
  }
  return {};
}

}  // namespace

Status LockPlain(Os& os, const PlainFile& plain) {
  // Other errors mean that there are no locks here.
  if (os.TryLock(plain.fd) == -EWOULDBLOCK) {
    return Fail(EBUSY, plain.path + " is locked: another mount commits it");
  }
  return {};
}

Status CheckUnopened(Os& os, const PlainFile& plain) {
  const int lease = os.TakeLease(plain.fd);
  if (lease == 0) {
    os.ReleaseLease(plain.fd);
  }
  return lease == -EAGAIN ? Status(Fail(EBUSY, plain.path + kOpenElsewhere)) : Status();
}

Status CopyMetadata(Os& os, int from, const struct stat& attributes, const struct timespec times[2],
                    int to, const std::string& path) {
  struct stat made = {};
  int error = os.FStat(to, &made);
  if (error == 0 && (made.st_uid != attributes.st_uid || made.st_gid != attributes.st_gid)) {
    error = os.FChangeOwner(to, attributes.st_uid, attributes.st_gid);
  }
  if (error < 0) {
    return FailErrno(-error, "give the new form of " + path + " its owner");
  }
  // Set while the file may still be written to. An ACL includes the mode's bits, so these don't
  // change it.
  XZFS_RETURN_IF_ERROR(CopyXattrs(os, from, to));
  if (error = os.FChangeMode(to, attributes.st_mode & 07777); error < 0) {
    return FailErrno(-error, "give the new form of " + path + " its mode");
  }
  if (error = os.FSetTimes(to, times); error < 0) {
    return FailErrno(-error, "give the new form of " + path + " its times");
  }
  return {};
}

Result<bool> IsCurrent(Os& os, int dir, const std::string& name, const Identity& identity) {
  struct stat st = {};
  const int error = os.StatAt(dir, name, &st);
  if (error < 0 && error != -ENOENT) {
    return FailErrno(-error, "stat " + Quoted(name));
  }
  return error == 0 && Identity::Of(st) == identity;
}

Status PutAside(Os& os, int dir, Session& session, HeldClaim& held, TempFile* temp) {
  const Claim& claim = held.claim();
  const int folder = session.folder();
  int error = 0;
  if (temp != nullptr && temp->name != claim.other) {
    error = os.Rename(folder, temp->name, folder, claim.other, 0);
    temp->name = error < 0 ? temp->name : claim.other;
  }
  if (error == 0) {
    error = temp == nullptr ? RenameOverNothing(os, dir, claim.name, folder, claim.other)
                            : os.Rename(dir, claim.name, folder, claim.other, RENAME_EXCHANGE);
  }
  FileFacts taken;
  const int looked = os.FactsAt(folder, claim.other, &taken);
  if (error == 0 && looked == 0 && claim.HasContentOfOld(taken)) {
    return {};
  }
  const bool is_undone = temp == nullptr ? looked == -ENOENT : looked == 0 && claim.IsMade(taken);
  if (error < 0 && (is_undone || temp == nullptr || temp->name != claim.other)) {
    return FailErrno(error == -ENOSYS ? EINVAL : -error, "rename " + Quoted(claim.name));
  }
  if (temp != nullptr) {
    temp->name.clear();  // the file that has it now may not be ours to remove
  }
  const Status settled = SettleClaim(os, session, dir, claim);
  if (!settled) {
    held = HeldClaim();
    return Fail(EIO, settled.error().message);
  }
  // It could not look at the file that it moved, or the system failed after the step: it may have
  // been the old file nevertheless.
  FileFacts there;
  const int now = os.FactsAt(dir, claim.name, &there);
  const bool is_done = temp == nullptr ? now == -ENOENT : now == 0 && claim.IsMade(there);
  const bool is_another = looked == 0 && !claim.HasContentOfOld(taken);
  return is_done && !is_another ? Status() : Fail(ESTALE, Quoted(claim.name) + " was changed");
}

Result<std::optional<PublishedTwin>> PublishTwin(Os& os, TwinRecords& twins, const PlainFile& plain,
                                                 int dir, const std::string& name,
                                                 const Session& session, TempFile& temp) {
  XZFS_ASSIGN_OR_RETURN(const bool current,
                        IsCurrent(os, dir, name, Identity::Of(plain.attributes)));
  if (!current) {
    return Fail(ESTALE, Quoted(name) + " was changed while it was compressed");
  }
  // From now on we notice if another process, also another mount of this source, opens it for
  // writing. EAGAIN: a process has it open. Other errors: there are no leases here, so nobody can
  // know.
  const int lease = os.TakeLease(plain.fd);
  if (lease == -EAGAIN) {
    return Fail(EBUSY, plain.path + kOpenElsewhere);
  }
  const std::string compressed = CompressedNameOfPlain(name);
  FileFacts made;
  int error = os.FactsAt(temp.file.get(), "", &made);
  const KeptTimes times(os, dir);
  if (error == 0) {
    error = RenameOverNothing(os, session.folder(), temp.name, dir, compressed);
  }
  if (error == -EEXIST && twins.RemoveHidden(dir, name, compressed).value_or(false)) {
    error = RenameOverNothing(os, session.folder(), temp.name, dir, compressed);
  }
  if (error == 0) {
    temp.name.clear();
    return PublishedTwin{.key = StoredKey::Of(made), .leased = lease == 0};
  }
  if (lease == 0) {
    os.ReleaseLease(plain.fd);
  }
  if (error == -EEXIST) {
    return std::nullopt;
  }
  return FailErrno(-error, "rename the compressed form of " + plain.path);
}

Status RemovePlain(Os& os, const PlainFile& plain, int dir, const std::string& name,
                   const PublishedTwin& twin) {
  XZFS_ASSIGN_OR_RETURN(const bool current,
                        IsCurrent(os, dir, name, Identity::Of(plain.attributes)));
  if (!current) {
    return Fail(ESTALE, Quoted(name) + " was changed while it was compressed");
  }
  const std::string compressed = CompressedNameOfPlain(name);
  FileFacts there;
  if (os.FactsAt(dir, compressed, &there) < 0 || !twin.key.Matches(StoredKey::Of(there))) {
    return Fail(ESTALE, Quoted(compressed) + " was replaced by another program");
  }
  if (twin.leased && !os.HasLease(plain.fd)) {
    return Fail(EBUSY, plain.path + kOpenElsewhere);
  }
  const KeptTimes times(os, dir);
  if (const int error = os.Unlink(dir, name, 0); error < 0) {
    return FailErrno(-error, "remove the plain form of " + plain.path);
  }
  return {};
}

Status RemoveTwin(Os& os, int dir, const std::string& name, const StoredKey& twin) {
  const std::string compressed = CompressedNameOfPlain(name);
  const KeptTimes times(os, dir);
  FileFacts there;
  int error = os.FactsAt(dir, compressed, &there);
  if (error == 0 && twin.Matches(StoredKey::Of(there))) {
    error = os.Unlink(dir, compressed, 0);
  }
  if (error < 0 && error != -ENOENT) {
    return FailErrno(-error, "remove the twin " + compressed);
  }
  return {};
}

std::string CompressedNameOfPlain(const std::string& name) {
  return CompressedNameOf(StripEscape(name).value_or(name), Format::kXz);
}

}  // namespace xzfs
