// Completing what an intent says.
#pragma once

#include <string>
#include <vector>

#include "base/os.h"
#include "store/session.h"
#include "xzfs/result.h"

namespace xzfs {

// Finishes an operation whose first step was done, or whose second step was done if that is a
// rename. Leaves one that was never begun. May be interrupted and run again. Blocks.
Status CompleteIntent(Os& os, int source, Session& session, const Intent& intent);

// Overwrites the bytes and times of `to`, which is open for writing, with those of the open file
// `from`, and syncs. Not atomic: sets `begun` once the bytes of `to` may have changed. After an
// error before that, only the ctime of `to` has changed. `name`: of `to`, for messages.
Status OverwriteFile(Os& os, int from, int to, const std::string& name, bool& begun);

// renameat2(2) with RENAME_NOREPLACE, also where the file system doesn't support that. Returns 0 or
// -errno.
int RenameOverNothing(Os& os, int from_dir, const std::string& from, int to_dir,
                      const std::string& to);

}  // namespace xzfs
