// This removes only files that a claim names. Of twins it removes the new file, which was made from
// the old one, if both are unchanged; or the old file, if a power cut has left less of it. Of files
// that were put aside it removes the old file, which the new one has replaced, or the new file if
// it never got a name. A file with which another program replaced the old one at the last moment is
// neither of these.
#include "store/settle_claims.h"

#include <fcntl.h>
#include <linux/fs.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "base/try.h"
#include "store/claims_file.h"
#include "store/directory_reader.h"
#include "store/intents.h"
#include "store/kept_times.h"
#include "store/names.h"
#include "store/xz_writer.h"
#include "xzfs/byte_string.h"

namespace xzfs {
namespace {

std::string PathOf(const Session& session, const std::string& file) {
  return JoinPath(JoinPath(std::string(kPrivateFolder), session.name()), file);
}

// The new file has all that was compressed, and is on the disk. So it replaces the old file, which
// is in an earlier state. An old file that isn't empty is kept: if the clock was set back, its
// state might be a later one.
Status ReplaceEarlier(Os& os, Session& session, int dir, const Claim& claim, const FileFacts& old) {
  const KeptTimes times(os, dir);
  if (old.attributes.st_size == 0) {
    const int error = os.Unlink(dir, claim.name, 0);
    return error < 0 ? FailErrno(-error, "remove " + claim.name) : Status();
  }
  const std::string aside = session.NewId() + std::string(kAsideSuffix);
  const int error = RenameOverNothing(os, dir, claim.name, session.folder(), aside);
  if (error < 0) {
    return FailErrno(-error, "put " + claim.name + " aside");
  }
  return KeepInLostAndFound(os, session, aside,
                            "What a power cut has left of " + JoinPath(claim.dir, claim.name) +
                                "; " + claim.other + " has the whole content");
}

Status SettleTwins(Os& os, Session& session, int dir, const Claim& claim) {
  FileFacts old;
  FileFacts made;
  int error = dir < 0 ? -ENOENT : os.FactsAt(dir, claim.name, &old);
  if (error == 0) {
    error = os.FactsAt(dir, claim.other, &made);
  }
  if (error == 0 && claim.IsOld(old) && claim.IsMade(made)) {
    const KeptTimes times(os, dir);
    error = os.Unlink(dir, claim.other, 0);
  } else if (error == 0 && claim.IsEarlierOld(old) && claim.IsMade(made)) {
    return ReplaceEarlier(os, session, dir, claim, old);
  }
  return error < 0 && error != -ENOENT ? FailErrno(-error, "settle " + claim.other) : Status();
}

// The file that was put aside belongs to a user. It gets its name back as soon as our own file has
// lost it.
Status GiveBack(Os& os, Session& session, int dir, const Claim& claim) {
  const KeptTimes times(os, dir);
  FileFacts there;
  int error = os.FactsAt(dir, claim.name, &there);
  if (error == 0 && claim.IsMade(there)) {
    error = os.Rename(session.folder(), claim.other, dir, claim.name, RENAME_EXCHANGE);
  } else if (error == -ENOENT) {
    error = RenameOverNothing(os, session.folder(), claim.other, dir, claim.name);
  }
  if (error == 0) {
    error = os.Sync(dir);
  }
  return error < 0 ? FailErrno(-error, "give " + claim.name + " back") : Status();
}

Status SettleAside(Os& os, Session& session, int dir, const Claim& claim) {
  const std::string path = PathOf(session, claim.other);
  for (bool given_back = false;; given_back = true) {
    FileFacts aside;
    int error = os.FactsAt(session.folder(), claim.other, &aside);
    if (error == -ENOENT) {
      return {};
    }
    if (error < 0) {
      return FailErrno(-error, "stat " + path);
    }
    if (claim.HasContentOfOld(aside) || claim.IsMade(aside)) {
      // The new file's name is on the disk before the old file is removed.
      error = dir < 0 ? 0 : os.Sync(dir);
      error = error < 0 ? error : os.Unlink(session.folder(), claim.other, 0);
      return error < 0 ? FailErrno(-error, "remove " + path) : Status();
    }
    if (given_back || dir < 0 || !GiveBack(os, session, dir, claim)) {
      return KeepInLostAndFound(os, session, claim.other,
                                "A file that had the name " + JoinPath(claim.dir, claim.name) +
                                    " when xzfs was about to replace another file of that name");
    }
  }
}

}  // namespace

Status SettleClaim(Os& os, Session& session, int dir, const Claim& claim) {
  return claim.kind == Claim::Kind::kTwin ? SettleTwins(os, session, dir, claim)
                                          : SettleAside(os, session, dir, claim);
}

Status KeepInLostAndFound(Os& os, Session& session, const std::string& file,
                          const std::string& what) {
  XZFS_ASSIGN_OR_RETURN(const Descriptor lost, session.OpenLostAndFound());
  const std::string name = session.name() + "-" + file;
  const std::string note =
      what + ", is kept beside this note as " + name + ".\nGive it a name in the source.\n";
  // The note comes first: without it a user could not know what the file is.
  const int fd = os.OpenBeneath(lost.get(), name + ".note", O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (fd < 0) {
    return FailErrno(-fd, "make a note in .xzfs/lost+found");
  }
  const Descriptor written(os, fd);
  XZFS_RETURN_IF_ERROR(WriteFully(os, fd, BytesOf(note), 0));
  os.Sync(fd);
  const int error = RenameOverNothing(os, session.folder(), file, lost.get(), name);
  if (error < 0) {
    return FailErrno(-error, "keep " + PathOf(session, file) + " in .xzfs/lost+found");
  }
  os.Sync(lost.get());
  Log(LogLevel::kError, what + " is kept as .xzfs/lost+found/" + name);
  return {};
}

Status SettleClaims(Os& os, Session& session, std::vector<Claim>* moved) {
  XZFS_ASSIGN_OR_RETURN(const std::vector<Claims::Recorded> claims,
                        Claims::Read(os, session.folder(), PathOf(session, "")));
  bool all = true;
  for (const auto& [claim, done] : claims) {
    if (done && claim.kind == Claim::Kind::kTwin) {
      continue;
    }
    const auto dir = OpenDirectoryAt(os, session.top(), claim.dir);
    const int code = dir ? 0 : dir.error().code;
    const bool is_gone = code == ENOENT || code == ENOTDIR || code == ELOOP;
    if (!dir && !is_gone) {
      return Failure(dir.error());
    }
    if (is_gone && moved != nullptr && !done) {
      moved->push_back(claim);
      all = false;
      continue;
    }
    XZFS_RETURN_IF_ERROR(SettleClaim(os, session, dir ? dir->get() : -1, claim));
  }
  XZFS_ASSIGN_OR_RETURN(const std::vector<std::string> files, session.ListFiles());
  for (const std::string& file : files) {
    const bool is_claimed = std::any_of(claims.begin(), claims.end(), [&](const auto& recorded) {
      return recorded.claim.kind == Claim::Kind::kAside && recorded.claim.other == file;
    });
    if (file.ends_with(kAsideSuffix) && !is_claimed) {
      XZFS_RETURN_IF_ERROR(KeepInLostAndFound(os, session, file, "A file that no record explains"));
    }
  }
  if (all) {
    session.Unlink(ClaimsFile::kName);
    session.Unlink(ClaimsFile::kNewName);
  }
  return {};
}

}  // namespace xzfs
