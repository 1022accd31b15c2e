// The folder under `.xzfs/` where one running daemon keeps what is pending.
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
#include "store/pending_paths.h"
#include "xzfs/result.h"

namespace xzfs {

// A step of an operation on names that takes two. Paths are below the source.
struct IntentStep {
  // kOverwrite: the bytes of the session's file `from` take the place of those of `to`.
  enum class Kind : uint8_t { kRename = 1, kUnlink = 2, kOverwrite = 3 };
  Kind kind = Kind::kRename;
  uint64_t inode = 0;  // of the file that is moved or removed
  std::string from;
  std::string to;
  int64_t birth_ns = 0;  // of that inode; 0: not known
  bool operator==(const IntentStep&) const = default;
  // It is the file, whatever was written to it.
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

// What a session is made for.
struct SessionUse {
  // `.xzfs` is in the root of a source, where the name is always ours.
  bool is_root = true;
  // How far above it the root of the mount's source lies; nothing if it is for none.
  std::optional<unsigned> levels;
};

// Thread-safe. Held by a lock on its file "lock" for as long as the object lives, so that no other
// daemon takes it for a dead one's. What it holds (all of it: docs/format.md, "The folder .xzfs"):
//   N.tmp       a file that isn't complete, or has no name yet
//   N.aside     what had the name that a new file has, or is about to get
//   claims      which files beside others, and which N.aside, are ours (store/claims.h)
//   N.data .log an overlay
//   N.intent    an operation on names that isn't complete
//   pending     the paths of plain files that were written and aren't committed
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

  // The folders whose daemons are dead. They are ours from now on.
  static Result<std::vector<std::unique_ptr<Session>>> AdoptDead(Os& os, int source);

  // Brings to an end what dead processes have left that had no other pending work than files that
  // were being made, as those of xzfsctl, and removes their folders. All others stay for a mount.
  static Status RemoveDeadTemps(Os& os, int source);

  // Calls `act` while the session `name` is known to have no living process, and nobody can adopt
  // it. Blocks: on `.xzfs/lock`.
  static Status IfDead(Os& os, int source, const std::string& name,
                       const std::function<Status()>& act);

  // Where what nobody can place goes, `.xzfs/lost+found`, made if need be.
  Result<Descriptor> OpenLostAndFound();
  // Where an overlay goes whose base isn't there any more: `.xzfs/lost+found`, made if need be.
  static Result<Descriptor> OpenLostAndFound(Os& os, int source);
  // ENOENT if it was never made.
  static Result<Descriptor> FindLostAndFound(Os& os, int source);

  const std::string& name() const { return name_; }
  int folder() const { return folder_.get(); }
  // The directory that `.xzfs` is in.
  int top() const { return source_; }
  // `.xzfs` itself.
  int home() const { return home_.get(); }
  // Those of this process, in a session of its own.
  Claims& claims() { return claims_; }
  PendingPaths& pending() { return pending_; }

  // A number that no file in here has.
  std::string NewId() EXCLUDES(mutex_);
  Result<TempFile> MakeTemp();
  void Unlink(const std::string& file);

  // Writes an intent and returns its name, for Unlink when all is done. It is on the disk before
  // this returns.
  Result<std::string> WriteIntent(const std::vector<IntentStep>& steps);
  // Without steps if the intent was not written completely: then none of them was taken.
  Intent ReadIntent(const std::string& name);

  Result<std::vector<std::string>> ListFiles();

  // What all mounts of the source share: the file `.xzfs/NAME`. Writing replaces it as a whole;
  // writing nothing removes it. For hints: not synced.
  Status WriteShared(const std::string& name, std::string_view bytes);
  static Result<std::string> ReadShared(Os& os, int source, const std::string& name);

  // Removes the folder if nothing is left in it that matters, and `.xzfs` if it was the last one.
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
