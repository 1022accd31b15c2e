// Carrying on with what an intent says.
#pragma once

#include <string>
#include <vector>

#include "base/os.h"
#include "store/session.h"
#include "xzfs/result.h"

namespace xzfs {

// Completes an operation of which the first step was taken, or the second one if that is a rename,
// and does nothing about one that was never begun. May be interrupted and run again. Blocks.
Status CompleteIntent(Os& os, int source, Session& session, const Intent& intent);

// Puts the bytes and the times of the open file `from` in the place of those of `to`, open for
// writing, and on the disk. Not atomic: `begun` is set once its bytes may have been changed. After
// an error before that it is what it was, except for the ctime. `name`: of `to`, for messages.
Status OverwriteFile(Os& os, int from, int to, const std::string& name, bool& begun);

// renameat2(2) with RENAME_NOREPLACE, also where the file system doesn't know that. -errno.
int RenameOverNothing(Os& os, int from_dir, const std::string& from, int to_dir,
                      const std::string& to);

}  // namespace xzfs
