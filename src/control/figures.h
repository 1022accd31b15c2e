// The live figures and the commands of a mount, as extended attributes.
#pragma once

#include <string>

namespace xzfs {

struct Mount;

// Makes `mount` answer
//   user.xzfs.stats    on the mount's root: JSON, the figures of the whole mount
//   user.xzfs.history  on the mount's root: JSON, the history of reads and their times
//   user.xzfs.info     on every file: JSON, how it is stored
// and, on the root, run commands when these are read:
//   user.xzfs.cmd.sync           commits all pending files: "ok", or "error: " and what is left
//   user.xzfs.cmd.drop-cache     drops all decoded bytes: "ok"
//   user.xzfs.cmd.set.KEY=VALUE  changes an option: "ok", or "error: " and the reason
// The last two are for root and for the user who mounted it; others get EPERM. Commands are read,
// not written: a value can say what was wrong, and reading works on a read-only mount. `mount` must
// not be started yet. `end_note`: the descriptor of a file for the notes below, one a line;
// user.xzfs.stats has its number, for the program that waits for the end. -1: none.
void InstallControl(Mount& mount, int end_note);

// The note while the last commits run, when there are no more requests, as JSON: "committing"
// files.
std::string CommittingNote(Mount& mount);

// The note when the commits have ended, as JSON: "pending" files, and the "last_error".
std::string EndNote(Mount& mount);

}  // namespace xzfs
