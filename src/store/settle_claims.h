// Carrying on with what the claims of a dead process say; and putting a file aside, which a process
// that lives on has to undo in the same way.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/os.h"
#include "store/claims.h"
#include "store/session.h"
#include "xzfs/result.h"

namespace xzfs {

// Of a file in a session's folder that may be somebody else's: "ID.aside".
inline constexpr std::string_view kAsideSuffix = ".aside";

// For each claim of the session: of two files of which one was to replace the other the new one
// goes, if nothing of both has changed, and what was put aside goes if it is ours. What isn't ours
// gets its name back, or goes to lost+found. Then nothing is claimed any more. Claims whose
// directory isn't there are appended to `moved`, and stay, if that isn't null. May be interrupted
// and run again. REQUIRES: no process works in the session. Errors: what the system said; all that
// was not settled stays as it is.
Status SettleClaims(Os& os, Session& session, std::vector<Claim>* moved = nullptr);
// One of them: `dir` is its directory, or -1 if there is none any more.
Status SettleClaim(Os& os, Session& session, int dir, const Claim& claim);

// The file `file` of the session's folder, which isn't ours, goes to `.xzfs/lost+found` with a note
// that begins with `what`.
Status KeepInLostAndFound(Os& os, Session& session, const std::string& file,
                          const std::string& what);

}  // namespace xzfs
