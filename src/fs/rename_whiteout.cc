// RENAME_WHITEOUT, without which overlayfs doesn't take the mount as its upper layer.
//
//   1  the device is made as a temp of the session, and an intent of two steps is written and
//   synced 2  the file gets its new name, as by any rename 3  the device gets the old one 4  both
//   directories are synced, and the intent is removed
//
// A crash before 2: the next mount finds the first step of the intent not done, so it drops both.
// A crash after 2: it takes the second step.
#include "fs/rename_whiteout.h"

#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "base/log.h"
#include "base/try.h"
#include "store/directory_reader.h"
#include "store/intents.h"
#include "store/names.h"

namespace xzfs {

Result<bool> RenameWhiteout::IsReady(const Place& from, const Place& to) {
  XZFS_ASSIGN_OR_RETURN(const auto moved, places_.EntryAt(from));
  XZFS_ASSIGN_OR_RETURN(const auto target, places_.EntryAt(to));
  // Of two names of one file none moves.
  zone_ = nodes_.ZoneOf(from.dir->id);
  is_needed_ =
      moved && (!target || FileId::Of(moved->attributes) != FileId::Of(target->attributes));
  if (!is_needed_) {
    return true;
  }
  XZFS_ASSIGN_OR_RETURN(const std::string new_name,
                        places_.StoredNameFor(to, *moved, target ? &*target : nullptr));
  StoredEntry device;
  device.kind = StoredKind::kSpecial;
  XZFS_ASSIGN_OR_RETURN(stored_name_, places_.StoredNameFor(from, device, &*moved));
  std::vector<IntentStep> wanted = {
      {IntentStep::Kind::kRename, moved->attributes.st_ino,
       zones_.PathInZone(from.dir->id, moved->stored_name),
       zones_.PathInZone(to.dir->id, new_name)},
      {IntentStep::Kind::kRename, 0, {}, zones_.PathInZone(from.dir->id, stored_name_)}};
  if (!intent_.empty()) {
    wanted[1].inode = steps_[1].inode;
    wanted[1].from = steps_[1].from;
    if (wanted == steps_) {
      return true;
    }
  }
  to_write_ = std::move(wanted);
  return false;
}

Status RenameWhiteout::Prepare() {
  if (to_write_.empty()) {
    return {};
  }
  Drop();
  XZFS_ASSIGN_OR_RETURN(session_, zones_.SessionFor(zone_));
  const std::string name = session_->NewId() + ".tmp";
  struct stat st = {};
  int error = os_.MakeNode(session_->folder(), name, S_IFCHR, 0);
  if (error == 0) {
    temp_ = name;
    error = os_.StatAt(session_->folder(), name, &st);
  }
  if (error < 0) {
    return FailErrno(-error, "make a whiteout");
  }
  steps_ = std::exchange(to_write_, {});
  steps_[1].inode = st.st_ino;
  steps_[1].from = JoinPath(JoinPath(std::string(kPrivateFolder), session_->name()), name);
  XZFS_ASSIGN_OR_RETURN(intent_, session_->WriteIntent(steps_));
  return {};
}

Status RenameWhiteout::PutInto(const Place& from, const Place& to) {
  if (!is_needed_) {
    return {};
  }
  int error = RenameOverNothing(os_, session_->folder(), temp_, from.fd(), stored_name_);
  if (error == 0) {
    temp_.clear();
  } else {
    // The file has its new name, which may have been another's, so there is no way back.
    error = os_.MakeNode(from.fd(), stored_name_, S_IFCHR, 0);
  }
  if (error < 0) {
    temp_.clear();  // the intent's
    intent_.clear();
    Log(LogLevel::kError,
        "the whiteout of '" + from.name + "' could not get its name; the next mount gives it that");
    return FailErrno(-error, "leave a whiteout as '" + from.name + "'");
  }
  done_intents_.Add({session_,
                     std::exchange(intent_, {}),
                     {from.descriptor, to.descriptor},
                     std::exchange(steps_, {})});
  return {};
}

void RenameWhiteout::Drop() {
  for (std::string* const file : {&intent_, &temp_}) {
    if (!file->empty()) {
      session_->Unlink(std::exchange(*file, {}));
    }
  }
}

}  // namespace xzfs
