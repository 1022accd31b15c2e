// The folder under `.xzfs/` in which a running daemon keeps what is pending.
#pragma once

#include <time.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/os.h"
#include "store/claims.h"
#include "store/home.h"
#include "store/pending_paths.h"
#include "xzfs/result.h"

namespace xzfs {

// One of the two steps of an operation on names. Paths are below the source.
struct IntentStep {
  // kOverwrite: the bytes of the session's file `from` take the place of those of `to`.
  enum class Kind : uint8_t { kRename = 1, kUnlink = 2, kOverwrite = 3 };
  Kind kind = Kind::kRename;
  uint64_t inode = 0;  // of the file that is moved or removed
  std::string from;
  std::string to;
  int64_t birth_ns = 0;  // of that inode; 0: not known
  bool operator==(const IntentStep&) const = default;
  // `facts` are of that file, whatever was written to it.
  bool IsOf(const FileFacts& facts) const {
    return facts.attributes.st_ino == inode &&
           (birth_ns == 0 || facts.birth_ns == 0 || facts.birth_ns == birth_ns);
  }
};

// What an operation on names was about to do.
struct Intent {
  std::vector<IntentStep> steps;
  struct timespec written = {};  // when, by the source's clock
};

// A file without content that is being made.
struct TempFile {
  std::string name;
  Descriptor file;  // open for reading and writing
};

// What to make a session for.
struct SessionUse {
  HomeTop top = HomeTop::kSourceRoot;  // the directory that `.xzfs` is in
  // How many levels above it the root of the mount's source lies; nothing if it is for no mount.
  std::optional<unsigned> levels;
};

// Thread-safe. While the object lives it holds a lock on the folder's file "lock", so that no other
// daemon takes the session for that of a dead one. What the folder holds is in docs/format.md, "The
// folder .xzfs".
class Session {
 public:
  // `source`, a directory that is open, outlives every session: `.xzfs` is in it, and paths are
  // those below it.

  // For Create and AdoptDead.
  Session(Os& os, int source, Descriptor home, std::string name, Descriptor folder, Descriptor lock)
      : os_(os),
        source_(source),
        home_(std::move(home)),
        name_(std::move(name)),
        folder_(std::move(folder)),
        lock_(std::move(lock)),
        claims_(os, folder_.get(), ".xzfs/" + name_),
        pending_(os, folder_.get(), ".xzfs/" + name_) {}

  // Makes a folder of our own, and `.xzfs` if it isn't there; both are durable when this returns.
  static Result<std::unique_ptr<Session>> Create(Os& os, int source, const SessionUse& use = {});

  // How many files have overlays in any session, as far as that can be seen.
  static size_t CountOverlays(Os& os, int source);

  // Takes over the folders whose daemons are dead.
  static Result<std::vector<std::unique_ptr<Session>>> AdoptDead(Os& os, int source);

  // Cleans up after dead processes whose only pending work was files that were being made, such as
  // those of xzfsctl, and removes their folders. The other folders stay for a mount.
  static Status RemoveDeadTemps(Os& os, int source);

  // Calls `act` while the session `name` is known to have no living process, and none can adopt
  // it. Blocks: on `.xzfs/lock`.
  static Status IfDead(Os& os, int source, const std::string& name,
                       const std::function<Status()>& act);

  // Opens `.xzfs/lost+found`, for files that have no place. Makes it if need be.
  Result<Descriptor> OpenLostAndFound();
  // The same without a session.
  static Result<Descriptor> OpenLostAndFound(Os& os, int source);
  // Opens it if it is there. ENOENT if it was never made.
  static Result<Descriptor> FindLostAndFound(Os& os, int source);

  const std::string& name() const { return name_; }
  int folder() const { return folder_.get(); }
  // The directory that `.xzfs` is in.
  int top() const { return source_; }
  // `.xzfs` itself.
  int home() const { return home_.get(); }
  // The claims of this process, for a session that Create made.
  Claims& claims() { return claims_; }
  PendingPaths& pending() { return pending_; }

  // A number that no file of the folder has in its name.
  std::string NewId() EXCLUDES(mutex_);
  Result<TempFile> MakeTemp();
  void Unlink(const std::string& file);

  // Writes an intent, which is on the disk when this returns. Returns its name, for Unlink when the
  // operation is complete.
  Result<std::string> WriteIntent(const std::vector<IntentStep>& steps);
  // The intent has no steps if it was not written completely: then none of them was done.
  Intent ReadIntent(const std::string& name);

  Result<std::vector<std::string>> ListFiles();

  // The file `.xzfs/NAME`, which all mounts of the source share. Writing replaces it as a whole;
  // writing no bytes removes it. For hints: it is not synced.
  Status WriteShared(const std::string& name, std::string_view bytes);
  static Result<std::string> ReadShared(Os& os, int source, const std::string& name);

  // Removes the folder if nothing in it matters any more, and `.xzfs` if this was the last session.
  // The object is of no further use.
  void RemoveIfEmpty();

 private:
  static Result<std::unique_ptr<Session>> TryCreate(Os& os, int source, const SessionUse& use);
  static Result<std::unique_ptr<Session>> TryAdopt(Os& os, int source, int home,
                                                   const std::string& name);
  // REQUIRES: `.xzfs/lock` is held.
  void RemoveIfEmptyLocked();
  // No claim holds.
  bool IsDone();
  Result<Descriptor> WriteWhole(const std::string& name, std::string_view bytes);
  Result<std::string> ReadWhole(const std::string& name);

  Os& os_;
  const int source_;
  const Descriptor home_;  // .xzfs
  const std::string name_;
  const Descriptor folder_;
  Descriptor lock_;
  Claims claims_;
  PendingPaths pending_;
  Mutex mutex_;
  uint64_t next_id_ GUARDED_BY(mutex_) = 1;
};

}  // namespace xzfs
