// The live figures of a mount and what it can be asked to do, as extended attributes.
#pragma once

#include <string>

namespace xzfs {

struct Mount;

// Makes `mount` answer
//   user.xzfs.stats    on the mount's root: JSON, the figures of the whole mount
//   user.xzfs.history  likewise: JSON, what was read when, and how long it took
//   user.xzfs.info     on every file: JSON, how it is stored
// and, on the root, do what reading of these asks for:
//   user.xzfs.cmd.sync           commits all that is pending: "ok", or "error: " and what is left
//   user.xzfs.cmd.drop-cache     drops what was decoded: "ok"
//   user.xzfs.cmd.set.KEY=VALUE  changes an option: "ok", or "error: " and why not
// The last two are for root and for who mounted it; others get EPERM. Commands are read, not
// written: a value can say what was wrong, and it works on a read-only mount.
// `mount` must not be started yet. `end_note`: a descriptor, told in user.xzfs.stats, of a
// file that is to hold the notes below, a line each, for the program that waits for the end; -1:
// there is none.
void InstallControl(Mount& mount, int end_note);

// Nothing is asked any more and the commits are being finished, as JSON: of how many files,
// "committing".
std::string CommittingNote(Mount& mount);

// What is left when the commits have ended, as JSON: "pending" files, and the "last_error".
std::string EndNote(Mount& mount);

}  // namespace xzfs
