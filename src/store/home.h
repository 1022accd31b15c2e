// The folder `.xzfs`, in which sessions are: whose it is, and who takes turns in it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/identity.h"
#include "base/os.h"
#include "xzfs/result.h"

namespace xzfs {

// A directory of the source, its "top", has the folder `.xzfs` for all that lies below it and can
// be reached from there by a rename. The file `marker` in it says that it is ours, and which folder
// it was written for:
//
//   xzfs 1
//   id HEX
//   folder INODE BIRTH
//
// (birth in ns since the epoch; each 0 if the file system doesn't tell, or tells another one at the
// next mount). A folder that is another one than its marker says is a copy, of a backup or of
// another source: what is pending in it belongs to other files.
enum class HomeKind {
  kNone,
  kUsers,  // a folder of that name that is somebody else's
  kOurs,
  kCopy,
};

// What is in it beside sessions: what daemons take turns with, and what is nobody's.
inline constexpr const char* kLockName = "lock";  // in each session's folder, too
inline constexpr const char* kLostAndFound = "lost+found";

struct Home {
  HomeKind kind = HomeKind::kNone;
  Descriptor folder;  // of kOurs and kCopy, unless it may not be read
};

// What the directory that is open as `top` has. Older versions made it in the root of a source
// alone, and without a marker: `is_root` takes those for ours. Costs one stat where there is none.
Result<Home> LookAtHome(Os& os, int top, bool is_root);

// Errors: ENOENT.
Result<Descriptor> OpenHome(Os& os, int top);
// Makes it if it isn't there, and makes it ours if it is a copy, whose sessions go to lost+found.
// It is durable when this returns. `is_root`: as above. Errors: EEXIST: it is somebody else's.
Result<Descriptor> MakeHome(Os& os, int top, bool is_root);

bool HasMarker(Os& os, int home);

// The same for a caller that doesn't know where the root of a source is: a folder without a marker
// is ours if it has a lock, as those of older versions do.
Result<Home> LookAtAnyHome(Os& os, int dir);

// Held while sessions are made, adopted and removed. Waits for whoever has it: only for as long as
// folders are looked at. ENOENT if that one removed `.xzfs`, as the last session did.
Result<Descriptor> LockHome(Os& os, int home);

// `.xzfs` goes with the last session, and what a power cut has left of a marker that was being
// written. REQUIRES: the home's lock is held.
void RemoveUnusedHome(Os& os, int top, int home);

// Whether it is a session's folder, and none of the other names that we have in `.xzfs`.
bool IsSessionName(const std::string& name);

// A session whose process lives.
struct LivingSession {
  std::string name;
  FileId folder;
  // How many levels above the top the root of the source lies that it was made for. Nothing if it
  // is none of a mount.
  std::optional<unsigned> levels;
};
// What can't be looked at is left out.
std::vector<LivingSession> FindLivingSessions(Os& os, int home);

// The directory `levels` above.
Result<FileId> FileAbove(Os& os, int dir, unsigned levels);

// Whether the directory that is open as `source` is, or lies in, the source of another mount that
// runs: the path of one of its directories. As far as that may be seen.
std::optional<std::string> FindSourceAbove(Os& os, int source);

}  // namespace xzfs
