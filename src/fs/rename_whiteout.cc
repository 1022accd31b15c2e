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
#include "fs/done_intents.h"
#include "fs/places.h"
#include "store/directory_reader.h"
#include "store/intents.h"
#include "store/names.h"

namespace xzfs {

Result<bool> RenameWhiteout::IsReady(const Place& from, const Place& to) {
  XZFS_ASSIGN_OR_RETURN(const auto moved, places_.EntryAt(from));
  XZFS_ASSIGN_OR_RETURN(const auto target, places_.EntryAt(to));
  // If both are names of one file, neither moves.
  zone_ = tops_.ZoneOf(from.dir->id);
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
  if (!made_.intent.empty()) {
    wanted[1].inode = made_.steps[1].inode;
    wanted[1].from = made_.steps[1].from;
    if (wanted == made_.steps) {
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
  XZFS_ASSIGN_OR_RETURN(made_.session, zones_.SessionFor(zone_));
  const std::string name = made_.session->NewId() + ".tmp";
  struct stat st = {};
  int error = os_.MakeNode(made_.session->folder(), name, S_IFCHR, 0);
  if (error == 0) {
    made_.temp = name;
    error = os_.StatAt(made_.session->folder(), name, &st);
  }
  if (error < 0) {
    return FailErrno(-error, "make a whiteout");
  }
  made_.steps = std::exchange(to_write_, {});
  made_.steps[1].inode = st.st_ino;
  made_.steps[1].from =
      JoinPath(JoinPath(std::string(kPrivateFolder), made_.session->name()), name);
  XZFS_ASSIGN_OR_RETURN(made_.intent, made_.session->WriteIntent(made_.steps));
  return {};
}

Status RenameWhiteout::PutInto(const Place& from, const Place& to) {
  if (!is_needed_) {
    return {};
  }
  int error = RenameOverNothing(os_, made_.session->folder(), made_.temp, from.fd(), stored_name_);
  if (error == 0) {
    made_.temp.clear();
  } else {
    // The file has its new name, perhaps in the place of another file, so there is no way back.
    error = os_.MakeNode(from.fd(), stored_name_, S_IFCHR, 0);
  }
  if (error < 0) {
    made_.temp.clear();  // it stays for the intent
    made_.intent.clear();
    Log(LogLevel::kError, "the whiteout of '" + from.name +
                              "' could not get its name; the next mount gives it the name");
    return FailErrno(-error, "leave a whiteout as '" + from.name + "'");
  }
  done_intents_.Add({made_.session,
                     std::exchange(made_.intent, {}),
                     {from.descriptor, to.descriptor},
                     std::exchange(made_.steps, {})});
  return {};
}

void RenameWhiteout::Drop() {
  for (std::string* const file : {&made_.intent, &made_.temp}) {
    if (!file->empty()) {
      made_.session->Unlink(std::exchange(*file, {}));
    }
  }
}

}  // namespace xzfs
