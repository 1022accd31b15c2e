// Settling the claims of a dead process. A process that fails to put a file aside undoes that in
// the same way.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/os.h"
#include "store/claims.h"
#include "store/session.h"
#include "xzfs/result.h"

namespace xzfs {

// The suffix of a file in a session's folder that may be a user's: "ID.aside".
inline constexpr std::string_view kAsideSuffix = ".aside";

// Settles each claim of the session. If one file was to replace another, and neither has changed,
// it removes the new one. A file that was put aside is removed if it is ours; otherwise it gets its
// name back, or is moved to lost+found. Then nothing is claimed any more. If `moved` isn't null,
// claims whose directory isn't there are appended to it, and stay. May be interrupted and run
// again. REQUIRES: no process works in the session. Errors: what the system said; what was not
// settled stays as it is.
Status SettleClaims(Os& os, Session& session, std::vector<Claim>* moved = nullptr);
// Settles one claim. `dir`: its directory, or -1 if it isn't there any more.
Status SettleClaim(Os& os, Session& session, int dir, const Claim& claim);

// Moves `file`, which is in the session's folder and isn't ours, to `.xzfs/lost+found`, with a note
// that begins with `what`.
Status KeepInLostAndFound(Os& os, Session& session, const std::string& file,
                          const std::string& what);

}  // namespace xzfs
