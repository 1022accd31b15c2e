// RENAME_WHITEOUT, without which overlayfs doesn't take the mount as its upper layer.
//
//   1  the device is made as a temp of the session, and an intent of two steps is written and
//   synced 2  the file gets its new name, as by any rename 3  the device gets the old one 4  both
//   directories are synced, and the intent is removed
//
// A crash before 2: the next mount finds the first step of the intent not done, so it drops both.
// A crash after 2: it takes the second step.
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "base/log.h"
#include "fs/filesystem.h"
#include "fs/filesystem_places.h"
#include "store/directory_reader.h"
#include "store/intents.h"
#include "store/names.h"

namespace xzfs {

Result<bool> Filesystem::RenameWhiteout::IsReady(const Place& from, const Place& to) {
  XZFS_ASSIGN_OR_RETURN(const auto moved, fs.EntryAt(from));
  XZFS_ASSIGN_OR_RETURN(const auto target, fs.EntryAt(to));
  // Of two names of one file none moves.
  zone = fs.nodes_.ZoneOf(from.dir->id);
  is_needed = moved && (!target || FileId::Of(moved->attributes) != FileId::Of(target->attributes));
  if (!is_needed) {
    return true;
  }
  XZFS_ASSIGN_OR_RETURN(const std::string new_name,
                        fs.StoredNameFor(to, *moved, target ? &*target : nullptr));
  StoredEntry device;
  device.kind = StoredKind::kSpecial;
  XZFS_ASSIGN_OR_RETURN(stored_name, fs.StoredNameFor(from, device, &*moved));
  std::vector<IntentStep> wanted = {
      {IntentStep::Kind::kRename, moved->attributes.st_ino,
       fs.PathInZone(from.dir->id, moved->stored_name), fs.PathInZone(to.dir->id, new_name)},
      {IntentStep::Kind::kRename, 0, {}, fs.PathInZone(from.dir->id, stored_name)}};
  if (!intent.empty()) {
    wanted[1].inode = steps[1].inode;
    wanted[1].from = steps[1].from;
    if (wanted == steps) {
      return true;
    }
  }
  to_write = std::move(wanted);
  return false;
}

Status Filesystem::RenameWhiteout::Prepare() {
  if (to_write.empty()) {
    return {};
  }
  Drop();
  XZFS_ASSIGN_OR_RETURN(session, fs.SessionFor(zone));
  const std::string name = session->NewId() + ".tmp";
  struct stat st = {};
  int error = fs.os_.MakeNode(session->folder(), name, S_IFCHR, 0);
  if (error == 0) {
    temp = name;
    error = fs.os_.StatAt(session->folder(), name, &st);
  }
  if (error < 0) {
    return FailErrno(-error, "make a whiteout");
  }
  steps = std::exchange(to_write, {});
  steps[1].inode = st.st_ino;
  steps[1].from = JoinPath(JoinPath(std::string(kPrivateFolder), session->name()), name);
  XZFS_ASSIGN_OR_RETURN(intent, session->WriteIntent(steps, /*durable=*/true));
  return {};
}

Status Filesystem::RenameWhiteout::PutInto(const Place& from, const Place& to) {
  if (!is_needed) {
    return {};
  }
  int error = RenameOverNothing(fs.os_, session->folder(), temp, from.fd(), stored_name);
  if (error == 0) {
    temp.clear();
  } else {
    // The file has its new name, which may have been another's, so there is no way back.
    error = fs.os_.MakeNode(from.fd(), stored_name, S_IFCHR, 0);
  }
  if (error < 0) {
    temp.clear();  // the intent's
    intent.clear();
    Log(LogLevel::kError,
        "the whiteout of '" + from.name + "' could not get its name; the next mount gives it that");
    return FailErrno(-error, "leave a whiteout as '" + from.name + "'");
  }
  fs.done_intents_.Add({session,
                        std::exchange(intent, {}),
                        {from.descriptor, to.descriptor},
                        std::exchange(steps, {})});
  return {};
}

void Filesystem::RenameWhiteout::Drop() {
  for (std::string* const file : {&intent, &temp}) {
    if (!file->empty()) {
      session->Unlink(std::exchange(*file, {}));
    }
  }
}

}  // namespace xzfs
