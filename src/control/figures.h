// The live figures and the commands of a mount, as extended attributes.
#pragma once

#include <string>

namespace xzfs {

struct Mount;

// What the mount says about itself, and does not know.
struct MountFacts {
  std::string source;   // its absolute path
  std::string version;  // the program's
  // The descriptor of a file for the notes below, one a line. user.xzfs.stats has its number, for
  // the program that waits for the end. -1: none.
  int end_note = -1;
};

// Makes `mount` answer
//   user.xzfs.source   on the mount's root: the absolute path of the source, as bytes
//   user.xzfs.stats    on the mount's root: JSON, the figures of the whole mount
//   user.xzfs.history  on the mount's root: JSON, the history of reads and their times
//   user.xzfs.info     on every file: JSON, how it is stored
//   user.xzfs.stored.VERSION.OFFSET.LENGTH  on a compressed file: its stored bytes, as bytes. The
//       VERSION is `stored_version` of the file's info. ESTALE: the file has another one by now
// and, on the root, run commands when these are read:
//   user.xzfs.cmd.sync           commits all pending files: "ok", or "error: " and what is left
//   user.xzfs.cmd.drop-cache     drops all decoded bytes: "ok"
//   user.xzfs.cmd.set.KEY=VALUE  changes an option: "ok", or "error: " and the reason
// The last two are for root and for the user who mounted it; others get EPERM. Commands are read,
// not written: a value can say what was wrong, and reading works on a read-only mount.
// docs/json.md names the fields. `mount` must not be started yet.
void InstallControl(Mount& mount, MountFacts facts);

// The note while the last commits run, when there are no more requests, as JSON: "committing"
// files.
std::string CommittingNote(Mount& mount);

// The note when the commits have ended, as JSON: "pending" files, and the "last_error".
std::string EndNote(Mount& mount);

}  // namespace xzfs
