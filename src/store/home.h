// The folder `.xzfs`, which holds the sessions: whether it is ours, and its lock.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/identity.h"
#include "base/os.h"
#include "xzfs/result.h"

namespace xzfs {

// A directory of the source, the "top", has the folder `.xzfs` for all files below it that can be
// renamed to there. The file `marker` in it says what it is: docs/format.md, "The marker".
enum class HomeKind {
  kNone,
  kUsers,  // a folder of that name that we did not make
  kOurs,
  kCopy,  // from a backup or from another source
};

// What it holds beside sessions: the lock, and the folder for files that have no place.
inline constexpr const char* kLockName = "lock";  // also in each session's folder
inline constexpr const char* kLostAndFound = "lost+found";

// Which directory has the folder. Older versions made it only in the root of a source, and without
// a marker: there a folder without a marker is ours.
enum class HomeTop {
  kSourceRoot,
  kBelow,
};

struct Home {
  HomeKind kind = HomeKind::kNone;
  Descriptor folder;  // of kOurs and kCopy, unless it may not be read
};

// Looks at the `.xzfs` of the directory that is open as `top`. Costs one stat if there is none.
Result<Home> LookAtHome(Os& os, int top, HomeTop top_kind);

// Errors: ENOENT.
Result<Descriptor> OpenHome(Os& os, int top);
// Makes the folder if there is none. If it is a copy, moves its sessions to lost+found and makes it
// ours. It is durable when this returns. Errors: EEXIST: the folder is not ours.
Result<Descriptor> MakeHome(Os& os, int top, HomeTop top_kind);

bool HasMarker(Os& os, int home);

// LookAtHome for a caller that doesn't know where the root of a source is: a folder without a
// marker is ours if it has a lock, as the folders of older versions do.
Result<Home> LookAtAnyHome(Os& os, int dir);

// Takes the lock under which sessions are made, adopted and removed. Waits for another process that
// has it; that process only looks at folders. ENOENT if it removed `.xzfs` with the last session.
Result<Descriptor> LockHome(Os& os, int home);

// Removes `.xzfs` if it has no session, and with it a marker that a power cut left unfinished.
// REQUIRES: the home's lock is held.
void RemoveUnusedHome(Os& os, int top, int home);

// Whether `name` is that of a session's folder, and not one of the other names in `.xzfs`.
bool IsSessionName(const std::string& name);

// A session whose process lives.
struct LivingSession {
  std::string name;
  FileId folder;
  // How many levels above the top the root of its source lies. Nothing if the session is not that
  // of a mount.
  std::optional<unsigned> levels;
};
// Leaves out the sessions that it can't look at.
std::vector<LivingSession> FindLivingSessions(Os& os, int home);

// The directory `levels` above.
Result<FileId> FileAbove(Os& os, int dir, unsigned levels);

// If the directory that is open as `source` is the source of another running mount, or lies in one:
// the path of one of that mount's directories. Finds only what this process may see.
std::optional<std::string> FindSourceAbove(Os& os, int source);

}  // namespace xzfs
